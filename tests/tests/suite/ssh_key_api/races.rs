//! Many requests at once: what is promised of one after the other holds of them together.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use http::Method;
use keyplane_tests::http_api::{HttpAnswer, HttpApi};
use serde_json::Value;

use super::{Stage, Surface, http_of, stored, until_known, without_comment};
use crate::replicas::replica;

/// Seed 002: "Each account can have a maximum of 25 SSH keys."
const LIMIT: usize = 25;
const AT_ONCE: usize = 40;

/// So many public keys.
async fn public_keys(stage: &Stage, count: usize) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for number in 0..count {
        keys.push(stage.own.ssh_key_pair(&format!("many-{number}"), "ed25519").await?.public);
    }
    Ok(keys)
}

fn statuses(answers: &[HttpAnswer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

/// Registers all these keys at once, each through the next of the replicas.
async fn at_once(
    stage: &Stage,
    surface: Surface,
    replicas: &[HttpApi],
    keys: &[String],
) -> Result<Vec<HttpAnswer>> {
    let secret = stage.key.plaintext()?;
    let requests = keys.iter().zip(replicas.iter().cycle()).enumerate().map(|(number, (public, replica))| {
        let secret = &secret;
        async move { surface.create(replica, secret, &format!("key {number}"), public).await }
    });
    try_join_all(requests).await
}

/// Of 40 at once 25 stand, and the answers say which.
async fn ensure_25_of_40(stage: &Stage, surface: Surface, replicas: &[HttpApi]) -> Result<()> {
    let keys = public_keys(stage, AT_ONCE + 1).await?;
    let answers = at_once(stage, surface, replicas, &keys[..AT_ONCE]).await?;
    let (made, refused) = (statuses(&answers, 201), statuses(&answers, 400));
    ensure!((made, refused) == (LIMIT, AT_ONCE - LIMIT), "{made} made, {refused} refused: {answers:#?}");

    let acknowledged: BTreeSet<String> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .map(|answer| surface.id(answer))
        .collect::<Result<_>>()?;
    let standing = stored(&stage.own).await?;
    let ids: BTreeSet<String> = standing.iter().filter_map(|key| key.metadata.uid.clone()).collect();
    ensure!(ids == acknowledged, "kubectl sees what was acknowledged, and nothing else: {ids:?}");
    let listed = stage.ask(Surface::Panel, Method::GET, "?limit=100", &Value::Null).await?;
    ensure!(listed.json()["pagination"]["total"] == LIMIT, "{listed:?}");

    let next = surface.create(&replicas[0], &stage.key.plaintext()?, "one too many", &keys[AT_ONCE]).await?;
    ensure!(next.status == 400, "the 26th: {next:?}");
    ensure!(stored(&stage.own).await?.len() == LIMIT, "nothing is left of the 26th");

    // A place that was set free is had again.
    let gone = acknowledged.first().map(String::as_str).unwrap_or_default();
    stage.ask(surface, Method::DELETE, &format!("/{gone}"), &Value::Null).await?;
    let again = surface.create(&replicas[0], &stage.key.plaintext()?, "in its place", &keys[AT_ONCE]).await?;
    ensure!(again.status == 201, "{again:?}");
    Ok(())
}

#[tokio::test]
async fn of_40_keys_at_once_25_are_registered_and_the_answers_say_which() -> Result<()> {
    let stage = Stage::start("ssh-forty").await?;
    let api = stage.own.http()?;
    ensure_25_of_40(&stage, Surface::Panel, &[api]).await
}

#[tokio::test]
async fn of_40_keys_at_once_through_two_replicas_25_are_registered_and_the_answers_say_which() -> Result<()> {
    let stage = Stage::start("ssh-two").await?;
    let (one, other) = tokio::try_join!(replica("ssh-one", &[]), replica("ssh-other", &[]))?;
    let replicas = [http_of(&one)?, http_of(&other)?];
    for api in &replicas {
        until_known(api, &stage.key).await?;
    }
    ensure_25_of_40(&stage, Surface::GpuCloud, &replicas).await
}

#[tokio::test]
async fn of_40_registrations_of_one_public_key_by_two_accounts_at_once_one_stands() -> Result<()> {
    let (own, other) = tokio::try_join!(Stage::start("ssh-same"), Stage::start("ssh-same-too"))?;
    let replica = replica("ssh-same", &[]).await?;
    let (shared, further) = (own.own.http()?, http_of(&replica)?);
    for stage in [&own, &other] {
        until_known(&further, &stage.key).await?;
    }
    let public = own.own.ssh_key_pair("same", "ed25519").await?.public;
    let (own_secret, other_secret) = (own.key.plaintext()?, other.key.plaintext()?);
    let requests = (0..AT_ONCE).map(|number| {
        let surface = Surface::BOTH[number % 2];
        let api = if number / 2 % 2 == 0 { &shared } else { &further };
        let secret = if number / 4 % 2 == 0 { &own_secret } else { &other_secret };
        // Another comment makes no other key.
        let line = format!("{} {number}@example.com", without_comment(&public));
        async move { surface.create(api, secret, &format!("key {number}"), &line).await }
    });
    let answers = try_join_all(requests).await?;
    let (made, refused) = (statuses(&answers, 201), statuses(&answers, 409));
    ensure!((made, refused) == (1, AT_ONCE - 1), "{made} made, {refused} refused: {answers:#?}");
    let left = stored(&own.own).await?.len() + stored(&other.own).await?.len();
    ensure!(left == 1, "{left} are left");
    Ok(())
}
