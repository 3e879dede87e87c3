//! A creation that is tried again makes one key, and shows it once.

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use http::Method;
use keyplane_tests::http_api::{HttpAnswer, HttpApi};
use serde_json::{Value, json};

use super::limit::set_limit;
use super::{KEYS, Own, ensure_problem, told};
use crate::replicas::replica;

impl Own {
    async fn post_as(&self, key: &str, body: &Value) -> Result<HttpAnswer> {
        self.call_with(Method::POST, KEYS, &[("idempotency-key", key)], body).await
    }
}

#[tokio::test]
async fn a_retry_finds_the_key_that_the_first_attempt_made_and_does_not_show_it() -> Result<()> {
    let own = Own::create("retried").await?;
    let body = json!({"name": "ci", "scopes": {"kubernetes_exec": {"namespaces": ["web"]}}});
    let first = own.post_as("attempt-of-mine-31337", &body).await?;
    ensure!(first.status == 201 && first.header("idempotent-replayed").is_none(), "{}", told(&first));
    let key = own.held(&first)?;
    let again = own.post_as("attempt-of-mine-31337", &body).await?;
    ensure!(again.status == 200 && again.header("idempotent-replayed") == Some("true"), "{}", told(&again));
    ensure!(again.json().get("key").is_none(), "the key is shown once");
    ensure!(again.header("location") == first.header("location") && again.header("location").is_some());
    for field in ["id", "name", "prefix", "scopes", "created_at"] {
        ensure!(again.json()[field] == first.json()[field], "{field}: {}", told(&again));
    }
    own.ensure_works(&key, &first).await?;

    // The same, written in another way.
    let same = json!({"scopes": {"kubernetes_exec": {"namespaces": ["web", "web"]}, "all": false}, "allowed_cidrs": [], "name": "ci"});
    ensure!(own.post_as("attempt-of-mine-31337", &same).await?.status == 200);
    for other in [
        json!({"name": "CI", "scopes": body["scopes"]}),
        json!({"name": "ci", "scopes": {"all": true}}),
        json!({"name": "ci", "scopes": body["scopes"], "expires_at": "2999-01-01T00:00:00Z"}),
        json!({"name": "ci", "scopes": body["scopes"], "allowed_cidrs": ["127.0.0.1"]}),
    ] {
        let answer = own.post_as("attempt-of-mine-31337", &other).await?;
        ensure_problem(&other.to_string(), &answer, 422, "idempotency_key_reused")?;
    }
    ensure!(
        own.post_as("attempt-of-mine-31338", &body).await?.status == 201,
        "another one makes another key"
    );
    ensure!(own.stored().await?.len() == 2);

    // Nothing stored repeats what the client called it.
    let stored =
        own.tenant.kubectl.run(["get", "apikeys", "-o", "yaml", "--namespace", &own.tenant.account]).await?;
    ensure!(!stored.contains("31337"), "{stored}");
    for bad in ["", "two words", "ключ", &"x".repeat(256)] {
        let answer = own.post_as(bad, &body).await?;
        ensure_problem(bad, &answer, 400, "invalid_idempotency_key")?;
    }
    let twice = [("idempotency-key", "one"), ("idempotency-key", "one")];
    let answer = own.call_with(Method::POST, KEYS, &twice, &body).await?;
    ensure_problem("two headers", &answer, 400, "invalid_idempotency_key")?;
    // Another account's is another one.
    let else_ = Own::create("retried-else").await?;
    ensure!(else_.post_as("attempt-of-mine-31337", &body).await?.status == 201);

    // It is changed, ended, deleted: a retry tells what became of it, and makes another only when it is gone.
    let id = first.at("/id").context("an id")?;
    ensure!(own.patch(&id, &json!({"name": "renamed"})).await?.status == 200);
    ensure!(own.post_to(&id, "revoke", &Value::Null).await?.status == 200);
    let again = own.post_as("attempt-of-mine-31337", &body).await?;
    ensure!(again.status == 200 && again.json()["status"] == "revoked", "{}", told(&again));
    ensure!(
        again.at("/id").as_deref() == Some(&*id) && again.json()["name"] == "renamed",
        "{}",
        told(&again)
    );
    Ok(())
}

#[tokio::test]
async fn ten_attempts_at_once_make_one_key_and_one_of_them_shows_it() -> Result<()> {
    let own = Own::create("retried-at-once").await?;
    let other = replica("retried-at-once", &[]).await?;
    let other = HttpApi::at(&other.url(), Some(other.ca_file())).map(|http| (http, other))?;
    let bearer = format!("Bearer {}", own.token);
    for round in 0..3 {
        // Room for one more: whoever is told that there is none asked for the key that took the last place.
        set_limit(&own, round + 1).await?;
        let name = format!("round-{round}");
        let body = json!({"name": name, "scopes": {"inference": true}});
        let attempts = (0..10).map(|at| {
            let http = if at % 2 == 0 { &own.http } else { &other.0 };
            let headers = [("authorization", &*bearer), ("idempotency-key", &*name)];
            let body = &body;
            async move { http.json(Method::POST, KEYS, &headers, body).await }
        });
        let answers = try_join_all(attempts).await?;
        let id = answers[0].at("/id").context("an id")?;
        for answer in &answers {
            ensure!([200, 201].contains(&answer.status), "{}", told(answer));
            ensure!(answer.at("/id").as_deref() == Some(&*id), "{}", told(answer));
            let is_first = answer.status == 201;
            ensure!(answer.json().get("key").is_some() == is_first, "{}", told(answer));
        }
        ensure!(answers.iter().filter(|answer| answer.status == 201).count() == 1);
        ensure!(u32::try_from(own.stored().await?.len())? == round + 1);
    }
    Ok(())
}
