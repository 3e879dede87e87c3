//! Keys that Keyplane makes and hands over: in a Secret, or sealed to an SSH key.

mod conflicts;
mod sealed;
mod secret;

use anyhow::{Context as _, Result, ensure};
use keyplane_core::key_format::KeyDigest;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use serde_json::{Value, json};

/// An account of the test's own.
pub(super) async fn tenant(prefix: &str) -> Result<Tenant> {
    let shared = shared_keyplane().await?;
    Tenant::create(shared.cluster, &shared.keyplane, prefix).await
}

/// The spec of a key for the namespace `web`, delivered into a Secret.
pub(super) fn to_secret(name: &str) -> Value {
    json!({"scope": {"kubernetesExec": {"namespaces": ["web"]}}, "delivery": {"secretName": name}})
}

/// The same, sealed to an SshKey.
pub(super) fn sealed_to(ssh_key: &str) -> Value {
    json!({"scope": {"kubernetesExec": {"namespaces": ["web"]}}, "delivery": {"sealedTo": {"sshKey": ssh_key}}})
}

/// The digest of a key, as a status tells it.
pub(super) fn digest_of(key: &HeldKey) -> Result<String> {
    Ok(KeyDigest::of(key.plaintext()?.as_bytes()).to_string())
}

/// Presents a key until the exchange answers so.
pub(super) async fn until_answered(own: &Tenant, key: &HeldKey, status: u16) -> Result<()> {
    until(&format!("the answer {status}"), PATIENCE, || async {
        let seen = own.exchange(key).await?.status;
        Ok(if seen == status { Seen::Done(()) } else { Seen::NotYet(seen.to_string()) })
    })
    .await
}

/// The message of the condition Ready, which must name the remedy in these words.
async fn ensure_told(own: &Tenant, name: &str, words: &[&str]) -> Result<()> {
    let status = own.stored_key(name).await?.status.unwrap_or_default();
    let told = &status.conditions.first().context("a condition")?.message;
    ensure!(words.iter().all(|word| told.contains(word)), "{words:?} are not all in: {told}");
    Ok(())
}
