//! People with access tokens: what RBAC lets them do with an account's SSH keys.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};

use super::PANEL;
use crate::ssh_key_api::Stage;

/// The statuses of a list, a creation, and a deletion of this key, for whoever has this token.
async fn statuses(stage: &Stage, token: &str, account: Option<&str>, id: &str) -> Result<[u16; 3]> {
    let api = stage.own.http()?;
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(account.map(|account| ("x-keyplane-account", account)));
    let public = stage.own.ssh_key_pair(&uuid::Uuid::new_v4().to_string(), "ed25519").await?.public;
    let body = json!({"name": "by a person", "publicKey": public});
    let list = api.json(Method::GET, PANEL.path(), &headers, &Value::Null).await?;
    let made = api.json(Method::POST, PANEL.path(), &headers, &body).await?;
    let path = format!("{}/{id}", PANEL.path());
    let gone = api.json(Method::DELETE, &path, &headers, &Value::Null).await?;
    for answer in [&list, &made, &gone] {
        let is_shaped = answer.status < 400 || answer.json()["success"] == false;
        ensure!(is_shaped, "{answer:?}");
    }
    Ok([list.status, made.status, gone.status])
}

#[tokio::test]
async fn an_owner_manages_the_keys_a_viewer_sees_them_and_a_stranger_learns_nothing() -> Result<()> {
    let (stage, other) = tokio::try_join!(Stage::start("panel-people"), Stage::start("panel-others"))?;
    let account = stage.own.account.as_str();
    let (id, _) = stage.registered(PANEL, "laptop").await?;
    let (viewer, stranger) = (stage.own.viewer_token().await?, other.own.owner_token().await?);

    ensure!(statuses(&stage, &viewer, Some(account), &id).await? == [200, 403, 403], "a viewer");
    ensure!(statuses(&stage, &viewer, None, &id).await? == [400; 3], "a viewer owns no account");
    ensure!(statuses(&stage, &stranger, Some(account), &id).await? == [403; 3], "a stranger");
    ensure!(statuses(&stage, &stranger, None, &id).await? == [200, 201, 404], "in the account that they own");
    let nowhere = statuses(&stage, &stranger, Some("there-is-none"), &id).await?;
    ensure!(nowhere == [403; 3], "an account that is not there is like one that is not theirs: {nowhere:?}");

    let owner = stage.own.owner_token().await?;
    ensure!(statuses(&stage, &owner, None, &id).await? == [200, 201, 200], "the owner");
    let query = format!("?account={account}");
    let chosen =
        stage.own.call(&viewer, Method::GET, &format!("{}{query}", PANEL.path()), &Value::Null).await?;
    ensure!(chosen.status == 200, "the query chooses an account too: {chosen:?}");
    let total = chosen.json()["pagination"]["total"].as_u64().context("a number")?;
    ensure!(total == 1, "the owner made one and deleted the other: {chosen:?}");
    Ok(())
}
