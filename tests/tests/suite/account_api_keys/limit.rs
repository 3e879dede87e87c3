//! As many active keys as the account may have, through however many replicas they are made.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use http::Method;
use keyplane_crds::{Account, ApiKeyState};
use keyplane_tests::http_api::HttpApi;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::{KEYS, Own, ensure_problem, id_of, told};
use crate::replicas::replica;

pub(super) async fn set_limit(own: &Own, limit: u32) -> Result<()> {
    let accounts: Api<Account> = Api::all(own.tenant.client());
    let patch = Patch::Merge(json!({"spec": {"limits": {"activeApiKeys": limit}}}));
    accounts.patch(&own.tenant.account, &PatchParams::default(), &patch).await?;
    Ok(())
}

fn body(name: &str) -> Value {
    json!({"name": name, "scopes": {"inference": true}})
}

#[tokio::test]
async fn beyond_the_limit_none_is_made_until_one_ended() -> Result<()> {
    let own = Own::create("limited").await?;
    set_limit(&own, 2).await?;
    let (_, first) = own.made(&body("first")).await?;
    own.made(&body("second")).await?;
    for _ in 0..2 {
        let detail =
            ensure_problem("a third", &own.post(&body("third")).await?, 409, "active_key_limit_reached")?;
        ensure!(
            detail.contains("may have 2 active API keys") && detail.contains("revoke or delete one"),
            "{detail}"
        );
        ensure!(own.stored().await?.len() == 2, "nothing is left of it");
    }
    ensure!(own.post_to(&id_of(&first)?, "revoke", &Value::Null).await?.status == 200);
    let (_, third) = own.made(&body("third")).await?;
    own.until_shown(&id_of(&third)?, "the third", |shown| shown["status"] == "active").await?;
    ensure_problem("a fourth", &own.post(&body("fourth")).await?, 409, "active_key_limit_reached")?;
    set_limit(&own, 0).await?;
    ensure_problem("none at all", &own.post(&body("fourth")).await?, 409, "active_key_limit_reached")?;
    Ok(())
}

/// Makes `count` keys at once, through two replicas, where there is room for `room`.
async fn race(own: &Own, other: &HttpApi, count: usize, room: usize) -> Result<()> {
    let bearer = format!("Bearer {}", own.token);
    let before: BTreeSet<String> = own.stored().await?.iter().filter_map(kube::ResourceExt::uid).collect();
    let answers = try_join_all((0..count).map(|at| {
        let http = if at % 2 == 0 { &own.http } else { other };
        let bearer = &bearer;
        async move {
            http.json(Method::POST, KEYS, &[("authorization", &**bearer)], &body(&format!("key-{at}"))).await
        }
    }))
    .await?;
    let mut made = BTreeSet::new();
    for answer in &answers {
        if answer.status == 201 {
            made.insert(answer.at("/id").context("an id")?);
        } else {
            ensure_problem("one too many", answer, 409, "active_key_limit_reached")?;
        }
    }
    ensure!(made.len() == room, "{} of {count} made, and there was room for {room}", made.len());
    until("what was too much to go", PATIENCE, || async {
        let stored = own.stored().await?;
        let is_new = |uid: &String| !before.contains(uid);
        let left: BTreeSet<String> =
            stored.iter().filter_map(kube::ResourceExt::uid).filter(is_new).collect();
        let active = stored.iter().filter(|key| made.contains(&key.uid().unwrap_or_default()));
        let active = active.filter(|key| {
            key.status.as_ref().is_some_and(|status| status.state == Some(ApiKeyState::Active))
        });
        let is_settled = left == made && active.count() == made.len();
        Ok(if is_settled {
            Seen::Done(())
        } else {
            Seen::NotYet(format!("{} of {}", left.len(), made.len()))
        })
    })
    .await
}

#[tokio::test]
async fn of_creations_at_once_exactly_as_many_succeed_as_there_is_room_for() -> Result<()> {
    let own = Own::create("limit-race").await?;
    let other = replica("limit-race", &[]).await?;
    let http = HttpApi::at(&other.url(), Some(other.ca_file()))?;
    set_limit(&own, 5).await?;
    race(&own, &http, 20, 5).await?;
    race(&own, &http, 20, 0).await?;
    // Some room, and more in a rush.
    set_limit(&own, 12).await?;
    race(&own, &http, 40, 7).await?;
    let listed = own.call(Method::GET, KEYS, &Value::Null).await?;
    ensure!(listed.json()["data"].as_array().map(Vec::len) == Some(12), "{}", told(&listed));
    Ok(())
}
