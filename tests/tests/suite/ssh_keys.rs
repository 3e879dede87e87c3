//! SSH keys: registered, told apart, counted, one default.

use anyhow::{Context as _, Result, ensure};
use keyplane_crds::{SshKey, SshKeyStatus};
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::Api;
use tokio::process::Command;

/// A fresh public key and its fingerprint, both from ssh-keygen.
async fn public_key(own: &Tenant, name: &str, kind: &str) -> Result<(String, String)> {
    let file = own.dir().join(name);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-t", kind, "-C", name, "-f"])
        .arg(&file)
        .output()
        .await?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let public = file.with_extension("pub");
    let shown = Command::new("ssh-keygen").arg("-lf").arg(&public).output().await?;
    let shown = String::from_utf8(shown.stdout)?;
    let fingerprint = shown.split_whitespace().nth(1).context("ssh-keygen -l prints a fingerprint")?;
    Ok((std::fs::read_to_string(public)?.trim_end().to_owned(), fingerprint.to_owned()))
}

async fn register(own: &Tenant, name: &str, key: &str, default: bool) -> Result<()> {
    let manifest = serde_json::json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "SshKey",
        "metadata": {"name": name, "namespace": own.account},
        "spec": {"publicKey": key, "default": default},
    });
    own.kubectl.apply(&manifest.to_string()).await?;
    Ok(())
}

async fn with_reason(own: &Tenant, name: &str, reason: &str, default: bool) -> Result<SshKeyStatus> {
    let keys: Api<SshKey> = Api::namespaced(own.client(), &own.account);
    until(&format!("SshKey {name}: {reason}, default {default}"), PATIENCE, || async {
        let status = keys.get(name).await?.status.unwrap_or_default();
        let holds =
            status.default == default && status.conditions.iter().any(|condition| condition.reason == reason);
        Ok(if holds { Seen::Done(status) } else { Seen::NotYet(format!("{status:?}")) })
    })
    .await
}

#[tokio::test]
async fn a_key_is_registered_with_the_fingerprint_that_ssh_keygen_shows() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "ssh").await?;
    for (kind, type_) in [("ed25519", "ssh-ed25519"), ("rsa", "ssh-rsa"), ("ecdsa", "ecdsa-sha2-nistp256")] {
        let (key, fingerprint) = public_key(&own, kind, kind).await?;
        register(&own, kind, &key, false).await?;
        own.wait_ready(&format!("sshkey/{kind}")).await?;
        let keys: Api<SshKey> = Api::namespaced(own.client(), &own.account);
        let status = keys.get(kind).await?.status.unwrap_or_default();
        ensure!(status.fingerprint == Some(fingerprint), "{status:?}");
        ensure!(status.type_.as_deref() == Some(type_), "{status:?}");
    }
    register(&own, "nonsense", "ssh-ed25519 AAAA nobody", false).await?;
    let status = with_reason(&own, "nonsense", "InvalidPublicKey", false).await?;
    ensure!(status.fingerprint.is_none(), "{status:?}");
    Ok(())
}

#[tokio::test]
async fn of_one_public_key_anywhere_in_the_cluster_the_older_registration_stands() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "ssh-own").await?;
    let other = Tenant::create(shared.cluster, &shared.keyplane, "ssh-other").await?;
    let (key, _) = public_key(&own, "laptop", "ed25519").await?;
    register(&own, "laptop", &key, false).await?;
    own.wait_ready("sshkey/laptop").await?;
    next_second().await?;
    let renamed = format!("{} another comment", key.rsplit_once(' ').context("a comment")?.0);
    register(&other, "copy", &renamed, false).await?;
    with_reason(&other, "copy", "DuplicatePublicKey", false).await?;

    own.kubectl.run(["delete", "sshkey", "laptop", "--namespace", &own.account]).await?;
    with_reason(&other, "copy", "Registered", true).await?;
    Ok(())
}

#[tokio::test]
async fn an_account_has_one_default_key_and_no_more_keys_than_its_limit() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "ssh-limit").await?;
    let account = own.account.as_str();
    own.kubectl
        .run(["patch", "account", account, "--type=merge", "-p", r#"{"spec":{"limits":{"sshKeys":2}}}"#])
        .await?;
    for name in ["first", "second", "third"] {
        let (key, _) = public_key(&own, name, "ed25519").await?;
        register(&own, name, &key, name == "second").await?;
        next_second().await?;
    }
    with_reason(&own, "first", "Registered", false).await?;
    with_reason(&own, "second", "Registered", true).await?;
    with_reason(&own, "third", "LimitReached", false).await?;

    own.kubectl.run(["delete", "sshkey", "second", "--namespace", account]).await?;
    with_reason(&own, "first", "Registered", true).await?;
    with_reason(&own, "third", "Registered", false).await?;
    Ok(())
}

/// Creation times have whole seconds; a test that needs an older and a younger object waits for the next.
async fn next_second() -> Result<()> {
    let now = chrono::Utc::now().timestamp();
    until("the next second", PATIENCE, || async {
        Ok(if chrono::Utc::now().timestamp() > now {
            Seen::Done(())
        } else {
            Seen::NotYet("not yet".to_owned())
        })
    })
    .await
}
