//! The default key: one at any time, whoever asks for which, and whatever was left half done.

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use http::Method;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use serde_json::Value;

use super::{GPU, listed};
use crate::ssh_key_api::{Stage, stored};

/// Registers so many keys and returns their ids, the oldest first.
async fn several(stage: &Stage, count: usize) -> Result<Vec<String>> {
    for number in 0..count {
        stage.registered(GPU, &format!("key {number}")).await?;
    }
    let keys = listed(stage).await?;
    Ok(keys.iter().filter_map(|key| key["_id"].as_str()).map(ToOwned::to_owned).collect())
}

async fn make_default(stage: &Stage, id: &str) -> Result<u16> {
    Ok(stage.ask(GPU, Method::PATCH, &format!("/{id}/makedefault"), &Value::Null).await?.status)
}

/// The ids of the keys that are listed as the default.
async fn defaults(stage: &Stage) -> Result<Vec<String>> {
    let keys = listed(stage).await?;
    let defaults = keys.iter().filter(|key| key["isDefault"] == true);
    Ok(defaults.filter_map(|key| key["_id"].as_str()).map(ToOwned::to_owned).collect())
}

/// The ids of the keys that ask to be the default.
async fn askers(own: &Tenant) -> Result<Vec<String>> {
    let keys = stored(own).await?;
    let askers = keys.into_iter().filter(|key| key.spec.default == Some(true));
    Ok(askers.filter_map(|key| key.metadata.uid).collect())
}

#[tokio::test]
async fn the_next_list_shows_the_key_as_the_default_and_no_other() -> Result<()> {
    let stage = Stage::start("gpu-default").await?;
    let ids = several(&stage, 3).await?;
    // To and fro: towards older ones, younger ones, and one that is the default already.
    for number in [2, 0, 1, 1, 2] {
        let id = ids.get(number).context("three keys")?;
        ensure!(make_default(&stage, id).await? == 204);
        ensure!(defaults(&stage).await? == [id.as_str()]);
        ensure!(askers(&stage.own).await? == [id.as_str()], "the others stopped asking");
    }
    // Without it the oldest is.
    stage.ask(GPU, Method::DELETE, &format!("/{}", ids[2]), &Value::Null).await?;
    until("the oldest to be the default", PATIENCE, || async {
        let defaults = defaults(&stage).await?;
        Ok(if defaults == [ids[0].as_str()] { Seen::Done(()) } else { Seen::NotYet(format!("{defaults:?}")) })
    })
    .await
}

#[tokio::test]
async fn what_was_left_half_done_is_brought_to_its_end_by_the_next_request() -> Result<()> {
    let stage = Stage::start("gpu-half").await?;
    let ids = several(&stage, 3).await?;
    let home = format!("--namespace={}", stage.own.account);
    let names: Vec<String> = stored(&stage.own)
        .await?
        .into_iter()
        .filter(|key| key.metadata.uid.as_ref() != ids.first())
        .filter_map(|key| key.metadata.name)
        .collect();
    // Two ask, as where a process ended between the two steps.
    for name in &names {
        let patch = r#"{"spec": {"default": true}}"#;
        stage.own.kubectl.run(["patch", "sshkey", name, &home, "--type=merge", "-p", patch]).await?;
    }
    ensure!(askers(&stage.own).await?.len() == 2);
    for id in ids.iter().rev() {
        ensure!(make_default(&stage, id).await? == 204);
        ensure!(defaults(&stage).await? == [id.as_str()]);
        ensure!(askers(&stage.own).await? == [id.as_str()]);
    }
    Ok(())
}

#[tokio::test]
async fn of_many_requests_at_once_one_that_was_answered_204_has_it() -> Result<()> {
    let stage = Stage::start("gpu-at-once").await?;
    let ids = several(&stage, 4).await?;
    for _ in 0..3 {
        let statuses = try_join_all(ids.iter().map(|id| make_default(&stage, id))).await?;
        ensure!(statuses.iter().all(|status| matches!(status, 204 | 409)), "{statuses:?}");
        let done: Vec<&String> =
            ids.iter().zip(&statuses).filter(|(_, status)| **status == 204).map(|(id, _)| id).collect();
        ensure!(!done.is_empty(), "{statuses:?}");
        until("one default, of those that were promised", PATIENCE, || async {
            let defaults = defaults(&stage).await?;
            Ok(match &defaults[..] {
                [default] if done.contains(&default) => Seen::Done(()),
                other => Seen::NotYet(format!("{other:?} of {done:?}")),
            })
        })
        .await?;
    }
    Ok(())
}
