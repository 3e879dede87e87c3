//! `kubectl keyplane doctor` on a real control plane, started by the real kubectl.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use keyplane_tests::kubectl::{Captured, Kubectl};
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use keyplane_tests::workspace;
use serde_json::Value;
use tokio::process::Command;

/// A key's holder, whose kubectl finds itself on PATH beside the plugin.
struct Holder {
    own: Tenant,
    web: String,
    key: HeldKey,
    kubectl: Kubectl,
    path: OsString,
}

async fn holder(prefix: &str) -> Result<Holder> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, prefix).await?;
    let web = own.namespace("web").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let kubectl = own.kubectl_of(&key).await?;
    let folder = kubectl.program().parent().context("kubectl is in a folder")?.to_owned();
    let mut path = OsString::from(workspace::binary_dir()?);
    for folder in [folder.into_os_string(), std::env::var_os("PATH").unwrap_or_default()] {
        path.push(":");
        path.push(folder);
    }
    Ok(Holder { own, web, key, kubectl: kubectl.with_env("PATH", &path), path })
}

impl Holder {
    /// Runs the command of a remedy as a person does who pastes it into a shell.
    async fn mend(&self, finding: &Value, kuberc: &Path) -> Result<()> {
        let remedy = finding["remedy"].as_str().context("a problem has a remedy")?;
        let output = Command::new("sh")
            .args(["-c", remedy])
            .env("PATH", &self.path)
            .env("KUBERC", kuberc)
            .env("KUBECONFIG", self.own.dir().join("ci.kubeconfig"))
            .output()
            .await?;
        ensure!(output.status.success(), "{remedy}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

async fn doctor(kubectl: &Kubectl) -> Result<Captured> {
    kubectl.capture(["keyplane", "doctor", "--output", "json"], "").await
}

/// The finding of a check.
fn finding<'a>(findings: &'a [Value], check: &str) -> Result<&'a Value> {
    findings.iter().find(|finding| finding["check"] == check).context(format!("no {check} in {findings:?}"))
}

fn findings(report: &Captured) -> Result<Vec<Value>> {
    serde_json::from_str(&report.stdout).with_context(|| report.to_string())
}

#[tokio::test]
async fn a_healthy_setup_is_found_healthy_from_path_to_access() -> Result<()> {
    let holder = holder("doctor-healthy").await?;
    let Holder { web, key, kubectl, .. } = &holder;
    let report = doctor(kubectl).await?;
    ensure!(report.code == Some(0) && report.stderr.is_empty(), "{report}");
    ensure!(!report.stdout.contains(&key.plaintext()?), "the key is not shown");
    let findings = findings(&report)?;
    for finding in &findings {
        ensure!(finding["outcome"] == "ok" || finding["outcome"] == "hint", "{finding}");
    }
    let access = finding(&findings, "access")?;
    ensure!(access["found"].as_str().is_some_and(|found| found.contains(web)), "{access}");
    // The same as a table, through kubectl as well.
    let table = kubectl.run(["keyplane", "doctor"]).await?;
    ensure!(table.lines().count() >= findings.len() && !table.contains("problem"), "{table}");
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_the_key_does_not_reach_is_told_with_the_one_that_it_does() -> Result<()> {
    let holder = holder("doctor-namespace").await?;
    let Holder { web, kubectl, .. } = &holder;
    kubectl.run(["config", "set-context", "--current", "--namespace", "kube-system"]).await?;
    let report = doctor(kubectl).await?;
    ensure!(report.code == Some(1), "{report}");
    let findings = findings(&report)?;
    let access = finding(&findings, "access")?;
    ensure!(access["outcome"] == "problem", "{access}");
    holder.mend(access, Path::new("off")).await?;
    let report = doctor(kubectl).await?;
    ensure!(report.code == Some(0), "{report}");
    ensure!(report.stdout.contains(&format!("get pods in namespace {web} is allowed")), "{report}");
    Ok(())
}

#[tokio::test]
async fn a_revoked_key_is_told_and_nothing_is_asked_with_it() -> Result<()> {
    let holder = holder("doctor-revoked").await?;
    let Holder { own, kubectl, .. } = &holder;
    own.patch_key("ci", r#"{"revoked":true}"#).await?;
    let report = until("the revocation to count", PATIENCE, || async {
        let report = doctor(kubectl).await?;
        Ok(if report.code == Some(0) { Seen::NotYet(report.to_string()) } else { Seen::Done(report) })
    })
    .await?;
    ensure!(report.code == Some(1) && report.stderr.lines().count() == 1, "{report}");
    let findings = findings(&report)?;
    let whoami = finding(&findings, "whoami")?;
    ensure!(whoami["outcome"] == "problem", "{whoami}");
    ensure!(whoami["found"].as_str().is_some_and(|found| found.contains("revoked")), "{whoami}");
    for check in ["token", "api-server", "access"] {
        ensure!(finding(&findings, check)?["outcome"] == "not-checked", "{report}");
    }
    Ok(())
}

#[tokio::test]
async fn the_command_for_a_kuberc_that_denies_plugins_makes_kubectl_call_this_one_again() -> Result<()> {
    let holder = holder("doctor-kuberc").await?;
    let policies = [
        "credentialPluginPolicy: DenyAll",
        "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:\n- command: aws-iam-authenticator\n- name: o'k",
    ];
    for (count, policy) in policies.into_iter().enumerate() {
        let file = holder.own.dir().join(format!("kuberc-{count}"));
        let head = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n";
        std::fs::write(&file, format!("{head}{policy}\n"))?;
        let kubectl = holder.kubectl.clone().with_env("KUBERC", &file);
        let get = ["get", "pods", "--namespace", &holder.web];
        kubectl.capture(get, "").await?.failure()?;
        let report = doctor(&kubectl).await?;
        ensure!(report.code == Some(1), "{report}");
        let findings = findings(&report)?;
        holder.mend(finding(&findings, "plugin-policy")?, &file).await?;
        kubectl.run(get).await?;
        let report = doctor(&kubectl).await?;
        ensure!(report.code == Some(0), "{report}");
        let kept = std::fs::read_to_string(&file)?;
        ensure!(count == 0 || (kept.contains("aws-iam-authenticator") && kept.contains("o'k")), "{kept}");
    }
    Ok(())
}
