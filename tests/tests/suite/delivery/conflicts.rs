//! A Secret that is not the key's own is never touched, and the key waits until it is gone.

use anyhow::{Context as _, Result, ensure};
use keyplane_crds::ApiKeyState;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;

use super::{ensure_told, tenant, to_secret, until_answered};

async fn delete_secret(own: &Tenant, name: &str) -> Result<()> {
    own.kubectl.run(["delete", "secret", name, "--namespace", &own.account]).await.map(drop)
}

#[tokio::test]
async fn a_secret_of_somebody_else_stays_as_it_is_and_the_key_is_ready_when_it_is_gone() -> Result<()> {
    let own = tenant("foreign").await?;
    own.namespace("web").await?;
    let home = format!("--namespace={}", own.account);
    let foreign = ["create", "secret", "generic", "taken", "--from-literal=key=theirs", &home];
    own.kubectl.run(foreign).await?;
    let before = own.secret("taken").await?.context("the Secret")?;

    own.declare("ci", &to_secret("taken")).await?;
    let status = own.key_with_reason("ci", "DeliveryConflict").await?.status.unwrap_or_default();
    ensure!(status.state == Some(ApiKeyState::Pending), "{:?}", status.state);
    ensure_told(&own, "ci", &["Secret taken", "delete it", "an ApiKey with another", "never overwrites"])
        .await?;
    // Another attempt: the key is newer.
    own.patch_key("ci", r#"{"displayName":"again"}"#).await?;
    own.key_with_reason("ci", "DeliveryConflict").await?;
    ensure!(own.secret("taken").await?.as_ref() == Some(&before), "somebody else's Secret was changed");

    delete_secret(&own, "taken").await?;
    own.wait_ready("apikey/ci").await?;
    until_answered(&own, &own.delivered_key("taken").await?, 200).await
}

/// A label alone makes no Secret Keyplane's own: it is what everybody who may write a Secret can write.
#[tokio::test]
async fn a_secret_that_only_bears_the_keys_label_is_not_taken_for_its_own() -> Result<()> {
    let own = tenant("labelled").await?;
    own.namespace("web").await?;
    let home = format!("--namespace={}", own.account);
    own.kubectl.run(["create", "secret", "generic", "taken", "--from-literal=key=theirs", &home]).await?;
    own.declare("ci", &to_secret("taken")).await?;
    let uid = own.key_with_reason("ci", "DeliveryConflict").await?.uid().unwrap_or_default();
    let label = format!("keyplane.dev/owner-uid={uid}");
    own.kubectl.run(["label", "secret", "taken", &label, &home]).await?;
    let before = own.secret("taken").await?.context("the Secret")?;
    own.patch_key("ci", r#"{"displayName":"again"}"#).await?;
    own.key_with_reason("ci", "DeliveryConflict").await?;
    ensure!(own.secret("taken").await?.as_ref() == Some(&before), "somebody else's Secret was changed");
    Ok(())
}

#[tokio::test]
async fn of_two_keys_with_one_secret_the_second_waits_until_the_first_is_gone() -> Result<()> {
    let own = tenant("both").await?;
    own.namespace("web").await?;
    own.declare("first", &to_secret("shared")).await?;
    own.wait_ready("apikey/first").await?;
    let first = own.delivered_key("shared").await?;
    let version = own.secret("shared").await?.and_then(|secret| secret.resource_version());

    own.declare("second", &to_secret("shared")).await?;
    own.key_with_reason("second", "DeliveryConflict").await?;
    ensure_told(&own, "second", &["Secret shared"]).await?;
    let now = own.secret("shared").await?.and_then(|secret| secret.resource_version());
    ensure!(now == version && version.is_some(), "the first key's Secret was changed");
    until_answered(&own, &first, 200).await?;

    own.kubectl.run(["delete", "apikey", "first", "--namespace", &own.account, "--timeout=60s"]).await?;
    // The garbage collector takes the Secret away, in its own time: it looks for new kinds every 30 s.
    until("the first key's Secret to be gone", PATIENCE, || async {
        let now = own.secret("shared").await?.and_then(|secret| secret.resource_version());
        Ok(if now == version { Seen::NotYet("still there".to_owned()) } else { Seen::Done(()) })
    })
    .await?;
    own.wait_ready("apikey/second").await?;
    let second = own.delivered_key("shared").await?;
    ensure!(second.plaintext()? != first.plaintext()?, "the second has the first one's key");
    until_answered(&own, &second, 200).await?;
    ensure!(own.exchange(&first).await?.status == 401);
    Ok(())
}
