//! `/gpu-cloud/ssh-keys`: every field, status and sentence of seed 004.

mod default_key;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use http::Method;
use keyplane_tests::http_api::HttpAnswer;
use keyplane_tests::tenant::HeldKey;
use serde_json::{Value, json};

use crate::ssh_key_api::{GPU_CLOUD, Stage, Surface, key_with_scope, stored, until_known, without_comment};

const GPU: Surface = Surface::GpuCloud;

/// What an error answer says, whose form and path are the seed's.
fn message(answer: &HttpAnswer, status: u16, path: &str) -> Result<String> {
    let json = answer.json();
    let mut fields: Vec<&str> =
        json.as_object().into_iter().flat_map(|object| object.keys()).map(String::as_str).collect();
    fields.sort_unstable();
    ensure!(fields == ["message", "path", "statusCode", "timestamp"], "{answer:?}");
    ensure!(answer.status == status && json["statusCode"] == status, "{answer:?}");
    ensure!(json["path"] == path, "{answer:?}");
    let timestamp = json["timestamp"].as_str().unwrap_or_default();
    ensure!(timestamp.ends_with('Z') && timestamp.len() == 24, "{answer:?}");
    let age = Utc::now() - timestamp.parse::<DateTime<Utc>>()?;
    ensure!(age.num_seconds().abs() < 60, "{answer:?}");
    answer.at("/message").context("a message")
}

/// The account's keys, as the surface lists them.
async fn listed(stage: &Stage) -> Result<Vec<Value>> {
    let answer = stage.ask(GPU, Method::GET, "", &Value::Null).await?;
    ensure!(answer.status == 200, "{answer:?}");
    answer.json().as_array().cloned().with_context(|| format!("an array: {answer:?}"))
}

#[tokio::test]
async fn a_key_is_created_listed_made_the_default_and_deleted_in_the_words_of_the_seed() -> Result<()> {
    let stage = Stage::start("gpu").await?;
    ensure!(listed(&stage).await?.is_empty());
    let mut ids = Vec::new();
    for (number, kind) in ["ed25519", "rsa"].into_iter().enumerate() {
        let public = stage.own.ssh_key_pair(kind, kind).await?.public;
        let made = stage.ask(GPU, Method::POST, "", &json!({"name": kind, "publicKey": public})).await?;
        ensure!(made.status == 201, "{made:?}");
        ensure!(made.header("content-type") == Some("application/json"), "{made:?}");
        let dto = made.json();
        let order = ["_id", "name", "publicKey", "isDefault", "createdAt", "updatedAt"];
        let places: Vec<_> = order.iter().map(|field| made.text.find(&format!("\"{field}\":"))).collect();
        ensure!(places.is_sorted() && places.iter().all(Option::is_some), "{made:?}");
        ensure!(dto.as_object().is_some_and(|dto| dto.len() == order.len()), "{dto:#}");
        ensure!(dto["name"] == kind && dto["publicKey"] == without_comment(&public).as_str(), "{dto:#}");
        ensure!(dto["isDefault"] == (number == 0), "the first is the default: {dto:#}");
        ensure!(dto["createdAt"] == dto["updatedAt"], "nobody changed it yet: {dto:#}");
        let created = dto["createdAt"].as_str().unwrap_or_default();
        ensure!(created.len() == 24 && created.contains(".000Z"), "{created}");
        ensure!((Utc::now() - created.parse::<DateTime<Utc>>()?).num_seconds().abs() < 60, "{created}");
        ensure!(listed(&stage).await?.get(number) == Some(&dto), "the same object");
        ids.push(dto["_id"].as_str().context("an id")?.to_owned());
    }

    let made = stage.ask(GPU, Method::PATCH, &format!("/{}/makedefault", ids[1]), &Value::Null).await?;
    ensure!(made.status == 204 && made.text.is_empty(), "{made:?}");
    let keys = listed(&stage).await?;
    let defaults: Vec<&Value> = keys.iter().map(|key| &key["isDefault"]).collect();
    ensure!(defaults == [&json!(false), &json!(true)], "{keys:#?}");
    let second = keys.get(1).context("two keys")?;
    ensure!(second["updatedAt"].as_str() > second["createdAt"].as_str(), "{second:#}");

    for id in ids {
        let gone = stage.ask(GPU, Method::DELETE, &format!("/{id}"), &Value::Null).await?;
        ensure!(gone.status == 204 && gone.text.is_empty(), "{gone:?}");
        let again = stage.ask(GPU, Method::DELETE, &format!("/{id}"), &Value::Null).await?;
        ensure!(message(&again, 404, &format!("{GPU_CLOUD}/{id}"))? == "Not found");
    }
    ensure!(listed(&stage).await?.is_empty() && stored(&stage.own).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_done_is_told_in_the_form_of_the_seed() -> Result<()> {
    let stage = Stage::start("gpu-refused").await?;
    for strange in ["/nobody", "/nobody/makedefault", "/%20", "/%ff", "/%2e%2e/makedefault"] {
        let method = if strange.ends_with("makedefault") { Method::PATCH } else { Method::DELETE };
        let answer = stage.ask(GPU, method, &format!("{strange}?query=1"), &Value::Null).await?;
        ensure!(message(&answer, 404, &format!("{GPU_CLOUD}{strange}"))? == "Not found");
    }
    let good = stage.own.ssh_key_pair("good", "ed25519").await?.public;
    for (body, says) in [
        (Value::Null, "The body must be JSON"),
        (json!({"name": "laptop"}), "missing field `publicKey`"),
        (json!({"publicKey": good}), "missing field `name`"),
        (json!({"name": "", "publicKey": good}), "A name for the SSH key is required."),
        (json!({"name": "x".repeat(256), "publicKey": good}), "may have 255 characters"),
        (
            json!({"name": "laptop", "publicKey": "nonsense"}),
            "Invalid SSH public key: the line does not begin",
        ),
        (json!({"name": "laptop", "publicKey": ""}), "Invalid SSH public key: there is no key"),
    ] {
        let answer = stage.ask(GPU, Method::POST, "", &body).await?;
        let said = message(&answer, 400, GPU_CLOUD)?;
        ensure!(said.contains(says), "{body}: {said}");
    }
    ensure!(stored(&stage.own).await?.is_empty());
    Ok(())
}

/// Every request of the surface with these headers is refused like this.
async fn ensure_refused(stage: &Stage, what: &str, headers: &[(&str, &str)], says: &str) -> Result<()> {
    let api = stage.own.http()?;
    let body = json!({"name": "x", "publicKey": "nonsense"});
    for (method, behind, body) in [
        (Method::GET, "", &Value::Null),
        (Method::POST, "", &body),
        (Method::PATCH, "/nobody/makedefault", &Value::Null),
        (Method::DELETE, "/nobody", &Value::Null),
    ] {
        let path = format!("{GPU_CLOUD}{behind}");
        let answer = api.json(method, &path, headers, body).await?;
        let said = message(&answer, 403, &path)?;
        ensure!(said.contains(says), "{what}: {said}");
    }
    Ok(())
}

async fn ensure_key_refused(stage: &Stage, what: &str, key: &HeldKey, says: &str) -> Result<()> {
    ensure_refused(stage, what, &[("x-api-key", &key.plaintext()?)], says).await
}

#[tokio::test]
async fn a_key_that_does_not_open_the_surface_is_403_with_the_seeds_message() -> Result<()> {
    const INVALID: &str = "API key invalid";
    let stage = Stage::start("gpu-keys").await?;
    let secret = stage.key.plaintext()?;
    let (bearer, twice) = (format!("Bearer {secret}"), format!("{secret}, {secret}"));
    let owner = format!("Bearer {}", stage.own.owner_token().await?);
    ensure_refused(&stage, "nothing", &[], INVALID).await?;
    ensure_refused(&stage, "another header", &[("authorization", &bearer)], INVALID).await?;
    ensure_refused(&stage, "an access token", &[("authorization", &owner)], INVALID).await?;
    ensure_refused(&stage, "a list", &[("x-api-key", &twice)], INVALID).await?;
    ensure_refused(&stage, "two", &[("x-api-key", &secret), ("x-api-key", &secret)], INVALID).await?;
    ensure_refused(&stage, "nonsense", &[("x-api-key", "nonsense")], INVALID).await?;
    let unknown = stage.own.generate("undeclared", &["--scope", "ssh-keys"]).await?.0;
    ensure_key_refused(&stage, "unknown", &unknown, INVALID).await?;

    let api = stage.own.http()?;
    let revoked = key_with_scope(&stage.own, "revoked", &["--scope", "ssh-keys"], &[]).await?;
    until_known(&api, &revoked).await?;
    stage.own.patch_key("revoked", r#"{"revoked":true}"#).await?;
    stage.own.key_with_reason("revoked", "Revoked").await?;
    ensure_key_refused(&stage, "revoked", &revoked, INVALID).await?;

    for (name, scope) in [("images", &["--scope", "inference"][..]), ("pods", &["--all-namespaces"])] {
        let key = key_with_scope(&stage.own, name, scope, &[]).await?;
        until_known(&api, &key).await?;
        ensure_key_refused(&stage, name, &key, "scope does not include ssh_keys").await?;
    }
    let everything = key_with_scope(&stage.own, "everything", &["--scope", "all"], &[]).await?;
    until_known(&api, &everything).await?;
    let list = GPU.ask(&api, &everything.plaintext()?, Method::GET, "", &Value::Null).await?;
    ensure!(list.status == 200 && list.text == "[]", "{list:?}");

    let elsewhere =
        key_with_scope(&stage.own, "elsewhere", &["--scope", "ssh-keys"], &["203.0.113.0/24"]).await?;
    until_known(&api, &elsewhere).await?;
    let second = GPU.ask(&api, &elsewhere.plaintext()?, Method::GET, "", &Value::Null).await?;
    ensure!(message(&second, 403, GPU_CLOUD)?.contains("may not be used from this address"));
    // The third use from elsewhere locks it.
    ensure_key_refused(&stage, "locked", &elsewhere, "is locked after uses").await
}
