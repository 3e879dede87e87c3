//! `/v1/account/namespaces`: what it answers, and that it and `kubectl` show one and the same.

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use http::Method;
use keyplane_tests::http_api::HttpAnswer;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use serde_json::{Value, json};

const PATH: &str = "/v1/account/namespaces";

async fn tenant(prefix: &str) -> Result<Tenant> {
    let shared = shared_keyplane().await?;
    Tenant::create(shared.cluster, &shared.keyplane, prefix).await
}

fn path_of(id: &str) -> String {
    format!("{PATH}/{id}")
}

async fn post(own: &Tenant, token: &str, body: &Value) -> Result<HttpAnswer> {
    own.call(token, Method::POST, PATH, body).await
}

async fn make(own: &Tenant, token: &str, name: &str) -> Result<Value> {
    let answer = post(own, token, &json!({"name": name})).await?;
    ensure!(answer.status == 201, "{answer:?}");
    Ok(answer.json())
}

fn ensure_problem(answer: &HttpAnswer, status: u16, code: &str) -> Result<()> {
    ensure!(answer.status == status, "{status} {code}: {answer:?}");
    ensure!(answer.at("/code").as_deref() == Some(code), "{code}: {answer:?}");
    ensure!(answer.header("content-type") == Some("application/problem+json"), "{answer:?}");
    ensure!(answer.json().get("status") == Some(&json!(status)), "{answer:?}");
    Ok(())
}

/// The names in the list, as HTTP tells.
async fn listed(own: &Tenant, token: &str) -> Result<Vec<String>> {
    let answer = own.call(token, Method::GET, PATH, &Value::Null).await?;
    ensure!(answer.status == 200, "{answer:?}");
    let body = answer.json();
    let data = body.get("data").and_then(Value::as_array).context("data")?;
    let name = |one: &Value| one.get("name").and_then(Value::as_str).map(ToOwned::to_owned);
    data.iter().map(|one| name(one).context("a name")).collect()
}

/// The names of the account's Namespaces, as kubectl tells.
async fn declared(own: &Tenant) -> Result<Vec<String>> {
    let home = format!("--namespace={}", own.account);
    let names = own.kubectl.run([
        "get",
        "namespaces.keyplane.dev",
        &home,
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ]);
    Ok(names.await?.split_whitespace().map(ToOwned::to_owned).collect())
}

#[tokio::test]
async fn a_namespace_lives_over_http_as_kubectl_shows_it_and_the_other_way_round() -> Result<()> {
    let own = tenant("spaces-life").await?;
    let token = own.owner_token().await?;
    let empty = own.call(&token, Method::GET, PATH, &Value::Null).await?;
    ensure!(empty.json() == json!({"data": []}), "{empty:?}");
    ensure!(empty.header("cache-control") == Some("no-store"), "{empty:?}");

    let answer = post(&own, &token, &json!({"name": "web"})).await?;
    ensure!(answer.status == 201, "{answer:?}");
    let made = answer.json();
    let id = own.namespace_id("web").await?;
    let kubernetes_name = format!("{}-web", own.account);
    let created = own.kubectl.run([
        "get",
        "namespaces.keyplane.dev",
        "web",
        "--namespace",
        &own.account,
        "-o",
        "jsonpath={.metadata.creationTimestamp}",
    ]);
    let expected = json!({
        "id": id, "name": "web", "kubernetes_name": kubernetes_name, "status": "ready", "created_at": created.await?,
    });
    ensure!(made == expected, "{made} instead of {expected}");
    ensure!(answer.header("location") == Some(&path_of(&id)), "{answer:?}");
    // It can be used at once: by kubectl, and by a key that names its id.
    own.kubectl.run(["get", "resourcequota", "keyplane", "--namespace", &kubernetes_name]).await?;
    let key = own.key("ci", &["--namespace-id", &id]).await?;
    let exchanged = own.exchange(&key).await?;
    ensure!(exchanged.status == 200, "{exchanged:?}");

    own.namespace("by-kubectl").await?;
    let list = own.call(&token, Method::GET, PATH, &Value::Null).await?.json();
    ensure!(list["data"].as_array().is_some_and(|data| data.len() == 2 && data[0] == expected), "{list}");
    let other =
        own.call(&token, Method::GET, &path_of(&own.namespace_id("by-kubectl").await?), &Value::Null).await?;
    ensure!(other.status == 200 && other.json() == list["data"][1], "{other:?}");
    ensure!(other.json()["status"] == "ready" && other.json()["name"] == "by-kubectl", "{other:?}");

    let gone = own.call(&token, Method::DELETE, &path_of(&id), &Value::Null).await?;
    ensure!(gone.status == 204 && gone.text.is_empty(), "{gone:?}");
    until("the namespace to be gone", PATIENCE, || async {
        let answer = own.call(&token, Method::GET, &path_of(&id), &Value::Null).await?;
        if answer.status == 404 {
            return ensure_problem(&answer, 404, "namespace_not_found").map(Seen::Done);
        }
        // It is gone when everything in it is.
        ensure!(answer.at("/status").as_deref() == Some("deleting"), "{answer:?}");
        Ok(Seen::NotYet(format!("{answer:?}")))
    })
    .await?;
    ensure!(declared(&own).await? == ["by-kubectl"]);
    own.kubectl
        .run([
            "delete",
            "namespaces.keyplane.dev",
            "by-kubectl",
            "--namespace",
            &own.account,
            "--timeout=60s",
        ])
        .await?;
    ensure!(listed(&own, &token).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_is_refused_says_why_and_leaves_nothing_behind() -> Result<()> {
    let own = tenant("spaces-refused").await?;
    let token = own.owner_token().await?;
    make(&own, &token, "web").await?;
    let too_long = "x".repeat(63 - own.account.len());
    let longest = &too_long[1..];
    let long = format!("{{\"name\": \"{}\"}}", "x".repeat(70_000));
    for (body, status, code, told) in [
        (r#"{"name": "Web"}"#, 400, "invalid_name", "lower-case letters, digits and '-'"),
        (r#"{"name": ""}"#, 400, "invalid_name", "has 1 to"),
        (r#"{"name": "-a"}"#, 400, "invalid_name", "beginning and ending"),
        (r#"{"name": "a.b"}"#, 400, "invalid_name", "A namespace's name"),
        (
            &format!(r#"{{"name": "{too_long}"}}"#),
            400,
            "invalid_name",
            &format!("1 to {} characters", longest.len()),
        ),
        (r#"{"name": "web"}"#, 409, "namespace_exists", "web already"),
        (r#"{"name": 5}"#, 400, "invalid_body", "expected a string"),
        (r"{}", 400, "invalid_body", "missing field `name`"),
        (r#"{"name": "a", "quota": 1}"#, 400, "invalid_body", "unknown field `quota`"),
        ("name=a", 400, "invalid_body", "must be JSON"),
        ("", 400, "invalid_body", "must be JSON"),
        (&long, 413, "body_too_large", "larger"),
    ] {
        let bearer = format!("Bearer {token}");
        let answer =
            own.http()?.send(Method::POST, PATH, &[("authorization", &bearer)], body.as_bytes()).await?;
        ensure_problem(&answer, status, code)?;
        ensure!(answer.at("/detail").is_some_and(|detail| detail.contains(told)), "{told}: {answer:?}");
    }
    for id in ["none", "%ff", "00000000-0000-4000-8000-000000000000"] {
        for method in [Method::GET, Method::DELETE] {
            let answer = own.call(&token, method, &path_of(id), &Value::Null).await?;
            ensure_problem(&answer, 404, "namespace_not_found")?;
            ensure!(answer.at("/detail").as_deref() == Some("Namespace not found"), "{answer:?}");
        }
    }
    let answer = own.call(&token, Method::PUT, PATH, &Value::Null).await?;
    ensure_problem(&answer, 405, "method_not_allowed")?;
    let answer = own.call(&token, Method::GET, &format!("{PATH}?account=a&account=b"), &Value::Null).await?;
    ensure_problem(&answer, 400, "invalid_account")?;

    // A name in Kubernetes that is somebody else's.
    let foreign = format!("{}-taken", own.account);
    own.kubectl.run(["create", "namespace", &foreign]).await?;
    let answer = post(&own, &token, &json!({"name": "taken"})).await?;
    ensure_problem(&answer, 409, "name_taken")?;
    ensure!(answer.at("/detail").is_some_and(|detail| detail.contains(&foreign)), "{answer:?}");
    until("what was refused to be gone", PATIENCE, || async {
        let names = declared(&own).await?;
        Ok(if names == ["web"] { Seen::Done(()) } else { Seen::NotYet(format!("{names:?}")) })
    })
    .await?;
    own.kubectl.run(["get", "namespace", &foreign]).await?;
    own.kubectl.run(["delete", "namespace", &foreign, "--wait=false"]).await?;
    // The longest name that fits is one.
    let made = make(&own, &token, longest).await?;
    ensure!(made["kubernetes_name"].as_str().map(str::len) == Some(63), "{made}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_made_by_kubectl_is_shown_as_invalid_with_its_reason() -> Result<()> {
    let own = tenant("spaces-invalid").await?;
    let token = own.owner_token().await?;
    own.kubectl.run(["create", "namespace", &format!("{}-taken", own.account)]).await?;
    let manifest = json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "Namespace",
        "metadata": {"name": "taken", "namespace": own.account},
    });
    own.kubectl.apply(&manifest.to_string()).await?;
    let path = path_of(&own.namespace_id("taken").await?);
    until("the reason", PATIENCE, || async {
        let answer = own.call(&token, Method::GET, &path, &Value::Null).await?.json();
        let is_told = answer["status"] == "invalid"
            && answer["reason"] == "NameTaken"
            && answer["message"].as_str().is_some_and(|message| message.contains("never takes over"));
        Ok(if is_told { Seen::Done(()) } else { Seen::NotYet(answer.to_string()) })
    })
    .await
}

#[tokio::test]
async fn rbac_says_who_may_and_anothers_namespaces_are_as_absent_ones() -> Result<()> {
    let (own, other) = (tenant("spaces-own").await?, tenant("spaces-other").await?);
    let (owner, viewer, stranger) =
        (own.owner_token().await?, own.viewer_token().await?, other.owner_token().await?);
    let id = make(&own, &owner, "web").await?["id"].as_str().context("an id")?.to_owned();
    let key = own.key("all", &["--scope", "all"]).await?;
    let (nobody, of_key) = ("no.real.token".to_owned(), key.plaintext()?);
    let body = json!({"name": "another"});
    let named = |path: &str| format!("{path}?account={}", own.account);
    for (who, token, path, on_get, on_delete, on_post) in [
        (
            "a viewer",
            &viewer,
            named(&path_of(&id)),
            (200, None),
            (403, Some("forbidden")),
            (403, Some("forbidden")),
        ),
        (
            "a viewer, of none",
            &viewer,
            named(&path_of("none")),
            (404, Some("namespace_not_found")),
            (403, Some("forbidden")),
            (403, Some("forbidden")),
        ),
        (
            "another's owner",
            &stranger,
            named(&path_of(&id)),
            (403, Some("forbidden")),
            (403, Some("forbidden")),
            (403, Some("forbidden")),
        ),
        (
            "another's owner, of none",
            &stranger,
            named(&path_of("none")),
            (403, Some("forbidden")),
            (403, Some("forbidden")),
            (403, Some("forbidden")),
        ),
        (
            "nobody",
            &nobody,
            path_of(&id),
            (401, Some("invalid_access_token")),
            (401, Some("invalid_access_token")),
            (401, Some("invalid_access_token")),
        ),
        (
            "a key",
            &of_key,
            path_of(&id),
            (401, Some("missing_access_token")),
            (401, Some("missing_access_token")),
            (401, Some("missing_access_token")),
        ),
    ] {
        for (method, (status, code)) in [(Method::GET, on_get), (Method::DELETE, on_delete)] {
            let answer = own.call(token, method.clone(), &path, &Value::Null).await?;
            ensure!(
                answer.status == status && answer.at("/code").as_deref() == code,
                "{who} {method}: {answer:?}"
            );
        }
        let answer = own.call(token, Method::POST, &named(PATH), &body).await?;
        ensure!((answer.status, answer.at("/code").as_deref()) == on_post, "{who} POST: {answer:?}");
    }
    // In the stranger's own account, the id is of nothing.
    for method in [Method::GET, Method::DELETE] {
        let answer = own.call(&stranger, method, &path_of(&id), &Value::Null).await?;
        ensure_problem(&answer, 404, "namespace_not_found")?;
    }
    let answer = own.http()?.send(Method::GET, PATH, &[], b"").await?;
    ensure_problem(&answer, 401, "missing_access_token")?;
    ensure!(answer.at("/detail").as_deref() == Some("Missing access token"), "{answer:?}");
    let answer = own.call_with_key(&key, Method::GET, PATH, &Value::Null).await?;
    ensure_problem(&answer, 401, "missing_access_token")?;
    ensure!(listed(&own, &owner).await? == ["web"] && declared(&own).await? == ["web"]);
    Ok(())
}

#[tokio::test]
async fn of_namespaces_made_at_once_exactly_as_many_as_there_is_room_for_are_made() -> Result<()> {
    for round in 0..3 {
        let own = tenant(&format!("spaces-race-{round}")).await?;
        let token = own.owner_token().await?;
        let limits = json!({"spec": {"limits": {"namespaces": 3}}}).to_string();
        own.kubectl.run(["patch", "account", &own.account, "--type=merge", "-p", &limits]).await?;
        let names: Vec<Value> = (0..9).map(|number| json!({"name": format!("ns-{number}")})).collect();
        let answers = try_join_all(names.iter().map(|body| post(&own, &token, body))).await?;
        let made: Vec<&HttpAnswer> = answers.iter().filter(|answer| answer.status == 201).collect();
        ensure!(made.len() == 3, "{answers:?}");
        ensure!(made.iter().all(|answer| answer.json()["status"] == "ready"), "{made:?}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            ensure_problem(answer, 409, "namespace_limit_reached")?;
        }
        let mut expected: Vec<_> = made.iter().filter_map(|answer| answer.at("/name")).collect();
        expected.sort();
        until("only those that were made", PATIENCE, || async {
            let names = declared(&own).await?;
            Ok(if names == expected { Seen::Done(()) } else { Seen::NotYet(format!("{names:?}")) })
        })
        .await?;
        let answer = post(&own, &token, &json!({"name": "later"})).await?;
        ensure_problem(&answer, 409, "namespace_limit_reached")?;
        ensure!(
            answer.at("/detail").is_some_and(|detail| detail.contains("may have 3 namespaces")),
            "{answer:?}"
        );
    }
    Ok(())
}
