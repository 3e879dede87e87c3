//! What the server's log says and what it never says.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use keyplane_tests::shared::{shared_installation, shared_keyplane};
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use keyplane_tests::workspace;
use tokio::process::Command;

const SECRET: &str = "kpk_s3cretS3CRETs3cret";

/// Runs `keyplane api` with a kubeconfig that it cannot use, and gives what it wrote.
async fn refused(kubeconfig: PathBuf) -> Result<String> {
    let output = Command::new(workspace::binary("keyplane")?)
        .args(["api", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--kubeconfig"])
        .arg(kubeconfig)
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn a_file_given_as_kubeconfig_by_mistake_is_named_and_not_shown() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let slip = format!("apiVersion: v1\nusers:\n- name: a\n  user:\n   token: {SECRET}\n  x: [{SECRET}\n");
    for (name, content) in [("ci.key", SECRET.to_owned()), ("slip", slip)] {
        let path = dir.path().join(name);
        std::fs::write(&path, content)?;
        let log = refused(path.clone()).await?;
        ensure!(!log.contains("cret") && !log.contains("CRET"), "{log}");
        ensure!(log.contains(&format!("the kubeconfig {} cannot be used", path.display())), "{log}");
    }
    let log = refused(dir.path().join("nothing")).await?;
    ensure!(log.matches("does not exist").count() == 1 && log.lines().count() == 1, "{log}");
    Ok(())
}

/// In a namespace that the RBAC does not name, the lease may not be read.
#[tokio::test]
async fn missing_rights_are_said_once_with_what_to_do() -> Result<()> {
    let (cluster, installation) = shared_installation().await?;
    let mut options = KeyplaneOptions::of(Mode::Controller, "keyplane-rightless", installation);
    options.extra = vec!["--namespace=default".to_owned()];
    let keyplane = Keyplane::start(cluster.supervise(), cluster.dir(), &options).await?;
    let log = until("the refusal in the log", PATIENCE, || async {
        let log = keyplane.log();
        Ok(if log.contains("apply charts/keyplane/files") { Seen::Done(log) } else { Seen::NotYet(log) })
    })
    .await?;
    ensure!(log.contains("the lease default/keyplane-controller cannot be taken"), "{log}");
    ensure!(!log.contains("Status {") && !log.contains("ApiError"), "{log}");
    // It is tried again, and not said again.
    keyplane.stop();
    let log = keyplane.log();
    ensure!(log.matches("cannot be taken").count() == 1, "{log}");
    ensure!(log.contains("stopping: SIGTERM") && log.contains("stopped"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_start_says_its_version_its_cluster_and_where_it_listens() -> Result<()> {
    let log = shared_keyplane().await?.keyplane.log();
    let server = shared_keyplane().await?.cluster.server_url()?;
    let start = log.lines().find(|line| line.contains("keyplane ") && line.contains(" all"));
    ensure!(start.is_some_and(|line| line.contains(server.trim_end_matches('/'))), "{log}");
    for said in ["the API is served", "/healthz, /readyz and /metrics are served", "waiting for the lease"] {
        ensure!(log.lines().any(|line| line.contains(said)), "{said}: {log}");
    }
    Ok(())
}

#[tokio::test]
async fn a_resources_way_to_readiness_is_in_the_log_and_a_declared_keys_refusal_in_the_audit_log()
-> Result<()> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "log").await?;
    let (wrong, manifest) = own.generate("wrong", &["--kubernetes-namespace", "nowhere"]).await?;
    own.kubectl.apply(&manifest).await?;
    own.key_with_reason("wrong", "NamespaceNotOwned").await?;
    let name = format!("{}/wrong", own.account);
    let has =
        |log: &str, parts: &[&str]| log.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    until("both lines", PATIENCE, || async {
        own.exchange(&wrong).await?;
        let log = shared.keyplane.log();
        let seen = has(&log, &["not ready", &name, "NamespaceNotOwned"])
            && shared.keyplane.audit_events()?.iter().any(|event| {
                event["subject"] == format!("ApiKey/{name}")
                    && event["data"]["reason"] == "NotReady"
                    && event["data"]["message"]
                        .as_str()
                        .is_some_and(|text| text.contains("NamespaceNotOwned"))
            })
            && has(&log, &[" ready", &own.account, "Provisioned"]);
        Ok(if seen { Seen::Done(()) } else { Seen::NotYet(log) })
    })
    .await?;
    let log = shared.keyplane.log();
    ensure!(!log.contains(&wrong.plaintext()?), "a key's plaintext is in the log");
    ensure!(!log.contains("object.ref"), "{log}");
    Ok(())
}
