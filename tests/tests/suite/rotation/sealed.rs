//! Another key on request, sealed to the SSH key again.

use anyhow::{Context as _, Result, ensure};
use chrono::Utc;

use super::{request_rotation, until_version};
use crate::delivery::{digest_of, sealed_to, tenant, until_answered};

#[tokio::test]
async fn a_requested_rotation_seals_another_key_and_the_old_one_ends_with_its_grace() -> Result<()> {
    let own = tenant("sealed-again").await?;
    own.namespace("web").await?;
    let laptop = own.ssh_key_pair("laptop", "ed25519").await?;
    own.register_ssh_key("laptop", &laptop.public).await?;
    own.declare("ci", &sealed_to("laptop")).await?;
    own.wait_ready("apikey/ci").await?;
    let first = own.unsealed_key("ci", &laptop.private_file).await?;
    until_answered(&own, &first, 200).await?;

    // Without a grace.
    request_rotation(&own, "ci", Utc::now()).await?;
    until_version(&own, "ci", 2).await?;
    let second = own.unsealed_key("ci", &laptop.private_file).await?;
    until_answered(&own, &second, 200).await?;
    ensure!(own.exchange(&first).await?.status == 401);
    ensure!(own.stored_key("ci").await?.status.unwrap_or_default().digest == Some(digest_of(&second)?));

    // With one, for the next.
    own.patch_key("ci", r#"{"rotation":{"gracePeriodSeconds":3600}}"#).await?;
    own.key_with_reason("ci", "Active").await?;
    request_rotation(&own, "ci", Utc::now()).await?;
    until_version(&own, "ci", 3).await?.previous_until.context("previousUntil")?;
    let third = own.unsealed_key("ci", &laptop.private_file).await?;
    until_answered(&own, &third, 200).await?;
    own.until_admitted(&second).await?;
    own.patch_key("ci", r#"{"rotation":{"gracePeriodSeconds":0}}"#).await?;
    own.key_with_reason("ci", "Active").await?;
    until_answered(&own, &second, 401).await?;
    own.until_admitted(&third).await?;
    Ok(())
}
