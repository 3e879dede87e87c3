//! A rotation that cannot be delivered leaves the key as it is, and people are told why.

use anyhow::{Context as _, Result, ensure};
use chrono::Utc;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;

use super::{request_rotation, until_version};
use crate::delivery::{sealed_to, tenant, to_secret, until_answered};

/// Waits until `kubectl describe` and the audit log tell of a rotation that cannot be delivered, in these words.
async fn until_told(own: &Tenant, reason: &str, words: &[&str]) -> Result<()> {
    until(&format!("an Event {reason}"), PATIENCE, || async {
        let told = own.kubectl.run(["describe", "apikey", "ci", "--namespace", &own.account]).await?;
        let events = told.split_once("Events:").map_or("", |(_, events)| events);
        let is_told = events.contains(reason) && words.iter().all(|word| events.contains(word));
        Ok(if is_told { Seen::Done(()) } else { Seen::NotYet(told) })
    })
    .await?;
    let uid = own.stored_key("ci").await?.uid().unwrap_or_default();
    let events = shared_keyplane().await?.keyplane.audit_events()?;
    let mut lines: Vec<_> = events
        .iter()
        .filter(|event| {
            let data = &event["data"];
            data["code"] == "K1010W" && data["id"] == uid.as_str() && data["reason"] == reason
        })
        .collect();
    // However often it is tried. With the same id it is the same line, written again.
    lines.dedup_by_key(|line| &line["id"]);
    let [line] = lines.as_slice() else { anyhow::bail!("not one line: {lines:?}") };
    let message = line["data"]["message"].as_str().unwrap_or_default();
    ensure!(words.iter().all(|word| message.contains(word)), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_secret_of_somebody_else_refuses_a_rotation_the_old_key_goes_on_and_people_are_told() -> Result<()>
{
    let own = tenant("refused-rotation").await?;
    own.namespace("web").await?;
    own.declare("ci", &to_secret("ci-key")).await?;
    own.wait_ready("apikey/ci").await?;
    let old = own.delivered_key("ci-key").await?;
    let home = format!("--namespace={}", own.account);
    own.kubectl.run(["delete", "secret", "ci-key", &home]).await?;
    own.kubectl.run(["create", "secret", "generic", "ci-key", "--from-literal=key=theirs", &home]).await?;
    let before = own.secret("ci-key").await?.context("the Secret")?;

    request_rotation(&own, "ci", Utc::now()).await?;
    until_told(&own, "DeliveryConflict", &["Secret ci-key", "delete it"]).await?;
    let status = own.key_with_reason("ci", "Active").await?.status.unwrap_or_default();
    ensure!(status.version.is_some_and(|version| version.number == 1));
    own.still_admitted(&old).await.context("the old key does not work any more")?;
    ensure!(own.secret("ci-key").await?.as_ref() == Some(&before), "somebody else's Secret was changed");

    own.kubectl.run(["delete", "secret", "ci-key", &home]).await?;
    until_version(&own, "ci", 2).await?;
    until_answered(&own, &own.delivered_key("ci-key").await?, 200).await?;
    ensure!(own.exchange(&old).await?.status == 401);
    Ok(())
}

#[tokio::test]
async fn an_ssh_key_that_is_gone_refuses_a_rotation_the_old_key_goes_on_and_people_are_told() -> Result<()> {
    let own = tenant("refused-sealing").await?;
    own.namespace("web").await?;
    let laptop = own.ssh_key_pair("laptop", "ed25519").await?;
    own.register_ssh_key("laptop", &laptop.public).await?;
    own.declare("ci", &sealed_to("laptop")).await?;
    own.wait_ready("apikey/ci").await?;
    let old = own.unsealed_key("ci", &laptop.private_file).await?;
    own.kubectl.run(["delete", "sshkey", "laptop", "--namespace", &own.account]).await?;
    request_rotation(&own, "ci", Utc::now()).await?;
    let status = own.key_with_reason("ci", "Active").await?.status.unwrap_or_default();
    ensure!(status.version.is_some_and(|version| version.number == 1));
    until_answered(&own, &old, 200).await?;
    until_told(&own, "RecipientNotReady", &["SshKey laptop", "not registered"]).await?;

    let next = own.ssh_key_pair("next", "ed25519").await?;
    own.register_ssh_key("laptop", &next.public).await?;
    until_version(&own, "ci", 2).await?;
    until_answered(&own, &own.unsealed_key("ci", &next.private_file).await?, 200).await?;
    ensure!(own.exchange(&old).await?.status == 401);
    Ok(())
}
