//! The resources are the only state: what HTTP makes is there for kubectl, and the other way round.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use serde_json::{Value, json};

use super::{Stage, Surface, stored, without_comment};

/// What a surface lists, as pairs of id and name.
async fn listed(stage: &Stage, surface: Surface) -> Result<Vec<(String, String)>> {
    let answer = stage.ask(surface, Method::GET, "", &Value::Null).await?;
    ensure!(answer.status == 200, "{answer:?}");
    let json = answer.json();
    let (list, id) = match surface {
        Surface::Panel => (&json["data"], "id"),
        Surface::GpuCloud => (&json, "_id"),
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(list.as_array().into_iter().flatten().map(|key| (text(&key[id]), text(&key["name"]))).collect())
}

#[tokio::test]
async fn what_http_makes_and_deletes_kubectl_sees_at_once() -> Result<()> {
    let stage = Stage::start("ssh-parity").await?;
    let home = format!("--namespace={}", stage.own.account);
    for surface in Surface::BOTH {
        let name = format!("Made by {surface:?} ☕");
        let (id, public) = stage.registered(surface, &name).await?;
        let seen = stage.own.kubectl.run(["get", "sshkeys", &home, "-o", "json"]).await?;
        let seen: Value = serde_json::from_str(&seen)?;
        let made = seen["items"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|key| key["metadata"]["uid"] == id.as_str())
            .with_context(|| format!("{surface:?}: kubectl does not see {id}"))?;
        ensure!(made["spec"] == json!({"displayName": name, "publicKey": public}), "{made:#}");
        let resource = made["metadata"]["name"].as_str().unwrap_or_default();
        ensure!(
            resource.starts_with(&format!("made-by-{}", format!("{surface:?}").to_lowercase())),
            "{resource}"
        );
        let wide = stage.own.kubectl.run(["get", "sshkey", resource, &home, "-o", "wide"]).await?;
        ensure!(wide.contains("DISPLAY-NAME") && wide.contains(&name), "{wide}");

        for shown_by in Surface::BOTH {
            let keys = listed(&stage, shown_by).await?;
            ensure!(keys.contains(&(id.clone(), name.clone())), "{shown_by:?}: {keys:?}");
        }
        let deleted = stage.ask(surface, Method::DELETE, &format!("/{id}"), &Value::Null).await?;
        ensure!(matches!(deleted.status, 200 | 204), "{deleted:?}");
        let gone = stage.own.kubectl.capture(["get", "sshkey", resource, &home], "").await?;
        ensure!(gone.code == Some(1) && format!("{gone}").contains("NotFound"), "{gone}");
        let again = stage.ask(surface, Method::DELETE, &format!("/{id}"), &Value::Null).await?;
        ensure!(again.status == 404, "{again:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_kubectl_makes_http_shows_when_it_is_registered_and_never_when_it_is_not() -> Result<()> {
    let stage = Stage::start("ssh-kubectl").await?;
    let home = format!("--namespace={}", stage.own.account);
    let public = stage.own.ssh_key_pair("laptop", "ed25519").await?.public;
    stage.own.register_ssh_key("laptop", &public).await?;
    stage.own.register_ssh_key("nonsense", "ssh-ed25519 AAAA nobody").await?;
    stage.own.wait_ready("sshkey/laptop").await?;
    until("the controller to have said no", PATIENCE, || async {
        let keys = stored(&stage.own).await?;
        let decided = keys.iter().all(|key| key.status.is_some());
        Ok(if decided { Seen::Done(()) } else { Seen::NotYet(format!("{keys:?}")) })
    })
    .await?;
    for surface in Surface::BOTH {
        let keys = listed(&stage, surface).await?;
        let names: Vec<&str> = keys.iter().map(|(_, name)| name.as_str()).collect();
        ensure!(names == ["laptop"], "without a display name the resource's counts: {surface:?}: {keys:?}");
        let shown = stage.ask(surface, Method::GET, "", &Value::Null).await?;
        ensure!(shown.text.contains(&without_comment(&public)), "{shown:?}");
        ensure!(!shown.text.contains(&public), "the comment is nobody's business: {shown:?}");
    }
    let patch = r#"{"spec": {"displayName": "Renamed"}}"#;
    stage.own.kubectl.run(["patch", "sshkey", "laptop", &home, "--type=merge", "-p", patch]).await?;
    for surface in Surface::BOTH {
        let keys = listed(&stage, surface).await?;
        ensure!(keys.iter().any(|(_, name)| name == "Renamed"), "{surface:?}: {keys:?}");
    }

    // What is not registered is not listed, and can be deleted by whoever knows its id.
    let keys = stored(&stage.own).await?;
    let nonsense = keys.iter().find(|key| key.metadata.name.as_deref() == Some("nonsense"));
    let id = nonsense.and_then(|key| key.metadata.uid.clone()).context("an id")?;
    let no = stage.ask(Surface::GpuCloud, Method::PATCH, &format!("/{id}/makedefault"), &Value::Null).await?;
    ensure!(no.status == 400, "{no:?}");
    let deleted = stage.ask(Surface::Panel, Method::DELETE, &format!("/{id}"), &Value::Null).await?;
    ensure!(deleted.status == 200, "{deleted:?}");

    stage.own.kubectl.run(["delete", "sshkey", "laptop", &home]).await?;
    for surface in Surface::BOTH {
        let keys = listed(&stage, surface).await?;
        ensure!(keys.is_empty(), "{surface:?}: {keys:?}");
    }
    Ok(())
}

#[tokio::test]
async fn another_accounts_key_is_as_absent_as_none() -> Result<()> {
    let (own, other) = tokio::try_join!(Stage::start("ssh-mine"), Stage::start("ssh-theirs"))?;
    for surface in Surface::BOTH {
        let (id, _) = other.registered(surface, &format!("theirs {surface:?}")).await?;
        let absent = uuid::Uuid::new_v4().to_string();
        let mut asked = vec![(Method::DELETE, "")];
        if surface == Surface::GpuCloud {
            asked.push((Method::PATCH, "/makedefault"));
        }
        for (method, behind) in asked {
            let theirs = own.ask(surface, method.clone(), &format!("/{id}{behind}"), &Value::Null).await?;
            let none = own.ask(surface, method, &format!("/{absent}{behind}"), &Value::Null).await?;
            ensure!(theirs.status == 404 && none.status == 404, "{theirs:?} {none:?}");
            ensure!(theirs.at("/message") == none.at("/message"), "{theirs:?} {none:?}");
        }
    }
    ensure!(listed(&own, Surface::Panel).await?.is_empty());
    ensure!(listed(&other, Surface::Panel).await?.len() == 2, "nobody else's request did anything");
    Ok(())
}
