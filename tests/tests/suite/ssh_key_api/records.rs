//! What is written down of a request, and what never is.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::{Stage, Surface};

/// The changes that the HTTP API was asked for in an account: what, and by whom.
fn requested(stage: &Stage) -> Result<Vec<(String, Value)>> {
    let events = stage.shared.keyplane.audit_events()?;
    let ours = events.into_iter().filter(|event| {
        event["data"]["code"] == "H1000I" && event["data"]["account"] == stage.own.account.as_str()
    });
    Ok(ours
        .map(|event| {
            let data = &event["data"];
            (data["reason"].as_str().unwrap_or_default().to_owned(), data["actor"].clone())
        })
        .collect())
}

#[tokio::test]
async fn every_change_is_taken_down_with_the_key_or_person_that_asked_for_it() -> Result<()> {
    let stage = Stage::start("ssh-records").await?;
    let key_id = stage.own.stored_key(&stage.key.name).await?.uid().context("a UID")?;
    let by_key = json!({"key": key_id});
    let (id, _) = stage.registered(Surface::GpuCloud, "laptop").await?;
    stage.ask(Surface::GpuCloud, Method::PATCH, &format!("/{id}/makedefault"), &Value::Null).await?;
    stage.ask(Surface::GpuCloud, Method::DELETE, &format!("/{id}"), &Value::Null).await?;
    let expected = ["CreateSshKey", "MakeSshKeyDefault", "DeleteSshKey"];
    let seen = requested(&stage)?;
    ensure!(seen == expected.map(|change| (change.to_owned(), by_key.clone())), "{seen:?}");

    let owner = stage.own.owner_token().await?;
    let public = stage.own.ssh_key_pair("owners", "ed25519").await?.public;
    let body = json!({"name": "owner's", "publicKey": public});
    let made = stage.own.call(&owner, Method::POST, "/api/account/ssh-keys", &body).await?;
    ensure!(made.status == 201, "{made:?}");
    let (change, actor) = requested(&stage)?.pop().context("a line")?;
    let name = format!("system:serviceaccount:default:{}-person", stage.own.account);
    ensure!(change == "CreateSshKey" && actor == json!({"user": name}), "{change} {actor}");

    // What is refused is never asked of the cluster.
    let before = requested(&stage)?.len();
    for body in [json!({}), json!({"name": "x", "publicKey": "nonsense"})] {
        let refused = stage.ask(Surface::Panel, Method::POST, "", &body).await?;
        ensure!(refused.status == 400, "{refused:?}");
    }
    ensure!(requested(&stage)?.len() == before);
    Ok(())
}

#[tokio::test]
async fn a_pasted_private_key_is_told_apart_and_written_down_nowhere() -> Result<()> {
    let stage = Stage::start("ssh-private").await?;
    let pair = stage.own.ssh_key_pair("leaked", "ed25519").await?;
    let private = std::fs::read_to_string(&pair.private_file)?;
    let secret = private.lines().nth(2).context("a private key has several lines")?;
    for surface in Surface::BOTH {
        for body in [
            json!({"name": "laptop", "publicKey": private}),
            json!({"name": private, "publicKey": pair.public}),
            json!({"name": "laptop", "publicKey": pair.public, private.as_str(): true, "name": private}),
            json!({"name": "laptop", private.as_str(): pair.public}),
            json!({"name": [private], "publicKey": pair.public}),
        ] {
            let answer = stage.ask(surface, Method::POST, "", &body).await?;
            ensure!(answer.status == 400, "{surface:?}: {}", answer.text.replace(secret, "SECRET"));
            ensure!(!answer.text.contains(secret), "{surface:?} echoes a private key");
            let is_pasted = body["publicKey"] == private.as_str() || body["name"] == private.as_str();
            let message = answer.at("/message").unwrap_or_default();
            ensure!(message.contains("private key") == is_pasted, "{surface:?}: {message}");
        }
    }
    ensure!(!stage.shared.keyplane.log().contains(secret), "the log holds a private key");
    let audit = format!("{:?}", stage.shared.keyplane.audit_events()?);
    ensure!(!audit.contains(secret), "the audit log holds a private key");
    ensure!(super::stored(&stage.own).await?.is_empty());
    Ok(())
}
