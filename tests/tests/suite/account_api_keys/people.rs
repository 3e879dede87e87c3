//! Who may do what, and which account they mean.

use anyhow::{Result, ensure};
use http::Method;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use serde_json::{Value, json};

use super::{KEYS, Own, ensure_problem, told};

/// Every route, with a body that it takes.
fn routes(id: &str) -> Vec<(Method, String, Value)> {
    let one = format!("{KEYS}/{id}");
    vec![
        (Method::GET, KEYS.to_owned(), Value::Null),
        (Method::POST, KEYS.to_owned(), json!({"name": "new", "scopes": {"inference": true}})),
        (Method::GET, one.clone(), Value::Null),
        (Method::PATCH, one.clone(), json!({"name": "other"})),
        (Method::POST, format!("{one}/unlock"), Value::Null),
        (Method::POST, format!("{one}/rotate"), Value::Null),
        (Method::POST, format!("{one}/revoke"), Value::Null),
        (Method::DELETE, one, Value::Null),
    ]
}

#[tokio::test]
async fn nobody_manages_keys_without_an_access_token_and_an_api_key_is_none() -> Result<()> {
    let own = Own::create("token").await?;
    let (key, id) = own.made_for_web("ci").await?;
    let plaintext = key.plaintext()?;
    let (bearer, broken) = (format!("Bearer {plaintext}"), format!("Bearer {plaintext}x"));
    for (method, path, body) in routes(&id) {
        for (what, headers) in [
            ("nothing", vec![]),
            ("a key", vec![("x-api-key", &*plaintext)]),
            ("a key as a token", vec![("authorization", &*bearer)]),
            ("a key with a slip", vec![("authorization", &*broken)]),
            ("another scheme", vec![("authorization", "Basic YTpi")]),
        ] {
            let answer = own.http.json(method.clone(), &path, &headers, &body).await?;
            let detail =
                ensure_problem(&format!("{what}: {method} {path}"), &answer, 401, "missing_access_token")?;
            ensure!(detail == "Missing access token", "{detail}");
        }
        let headers = [("authorization", "Bearer not.a.token")];
        let answer = own.http.json(method.clone(), &path, &headers, &body).await?;
        ensure_problem(&format!("{method} {path}"), &answer, 401, "invalid_access_token")?;
    }
    let shown = own.get(&id).await?;
    ensure!(shown["name"] == "ci" && shown["status"] == "active", "{shown}");
    Ok(())
}

#[tokio::test]
async fn rbac_decides_and_an_account_is_the_one_that_is_named() -> Result<()> {
    let (own, other) = tokio::try_join!(Own::create("people"), Own::create("people-else"))?;
    let (_, id) = own.made_for_web("ci").await?;
    let account = own.tenant.account.clone();
    let viewer = format!("Bearer {}", own.tenant.viewer_token().await?);
    for (method, path, body) in routes(&id) {
        // Another account's owner, who names this one.
        let headers = [("x-keyplane-account", &*account)];
        let answer = other.call_with(method.clone(), &path, &headers, &body).await?;
        ensure_problem(&format!("{method} {path}"), &answer, 403, "forbidden")?;
        // Somebody who may read.
        let headers = [("authorization", &*viewer), ("x-keyplane-account", &*account)];
        let answer = own.http.json(method.clone(), &path, &headers, &body).await?;
        if method == Method::GET {
            ensure!(
                answer.status == 200 && !answer.text.contains("\"key\""),
                "{method} {path}: {}",
                told(&answer)
            );
        } else {
            ensure_problem(&format!("{method} {path}"), &answer, 403, "forbidden")?;
        }
        // They own nothing, so that it is not clear which account they mean.
        let answer = own.http.json(method.clone(), &path, &[("authorization", &*viewer)], &body).await?;
        ensure_problem(&format!("{method} {path}"), &answer, 400, "no_account")?;
    }
    // An account that is not there is told like one that is not yours.
    for name in ["there-is-none-such", &other.tenant.account] {
        let answer = own.call_with(Method::GET, KEYS, &[("x-keyplane-account", name)], &Value::Null).await?;
        let detail = ensure_problem(name, &answer, 403, "forbidden")?;
        ensure!(detail.contains(name), "{detail}");
    }
    let shown = own.get(&id).await?;
    ensure!(shown["name"] == "ci" && shown["status"] == "active", "{shown}");
    ensure!(own.stored().await?.len() == 1 && other.stored().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn whoever_owns_several_accounts_says_which() -> Result<()> {
    let (own, other) = tokio::try_join!(Own::create("several"), Own::create("several-else"))?;
    let (one, two) = (own.tenant.account.clone(), other.tenant.account.clone());
    // The one's owner comes to own the other too.
    let owners = json!({"spec": {"owners": [
        {"kind": "ServiceAccount", "name": format!("{one}-person"), "namespace": "default"},
        {"kind": "ServiceAccount", "name": format!("{two}-person"), "namespace": "default"},
    ]}});
    let patch = ["patch", "account", &two, "--type=merge", "-p", &owners.to_string()];
    own.tenant.kubectl.run(patch).await?;
    own.tenant.wait_ready(&format!("account/{two}")).await?;
    let (_, in_two) = other.made_for_web("in two").await?;
    until("both to be known", PATIENCE, || async {
        let answer = own.call(Method::GET, KEYS, &Value::Null).await?;
        let named = own.call_with(Method::GET, KEYS, &[("x-keyplane-account", &*two)], &Value::Null).await?;
        Ok(match (answer.status, named.status) {
            (400, 200) => Seen::Done(()),
            statuses => Seen::NotYet(format!("{statuses:?}")),
        })
    })
    .await?;
    let answer = own.post(&json!({"name": "which", "scopes": {"inference": true}})).await?;
    let detail = ensure_problem("none named", &answer, 400, "several_accounts")?;
    ensure!(detail.contains(&one) && detail.contains(&two), "{detail}");

    let header = [("x-keyplane-account", &*two)];
    let listed = own.call_with(Method::GET, KEYS, &header, &Value::Null).await?.json();
    ensure!(listed["data"][0]["id"] == *in_two, "{listed}");
    let query = format!("{KEYS}?account={two}");
    ensure!(own.call(Method::GET, &query, &Value::Null).await?.json() == listed);
    ensure!(own.call_with(Method::GET, &query, &header, &Value::Null).await?.json() == listed);
    let answer =
        own.call_with(Method::POST, KEYS, &header, &json!({"name": "new", "scopes": {"all": true}})).await?;
    ensure!(answer.status == 201, "{}", told(&answer));
    ensure!(other.stored().await?.len() == 2 && own.stored().await?.is_empty());
    // In the one account, the other's key is not there.
    let answer = own.call(Method::GET, &format!("{KEYS}/{in_two}?account={one}"), &Value::Null).await?;
    ensure_problem("in the other account", &answer, 404, "api_key_not_found")?;
    for path in [
        format!("{KEYS}?account={one}&account={two}"),
        format!("{KEYS}?account=Nobody!"),
        format!("{KEYS}?account="),
    ] {
        ensure_problem(&path, &own.call(Method::GET, &path, &Value::Null).await?, 400, "invalid_account")?;
    }
    let answer = own.call_with(Method::GET, &query, &[("x-keyplane-account", &*one)], &Value::Null).await?;
    ensure_problem("two named", &answer, 400, "invalid_account")?;
    Ok(())
}

/// What the audit log tells of a change, and that it is told before it is made.
#[tokio::test]
async fn each_change_is_in_the_audit_log_with_who_asked() -> Result<()> {
    let own = Own::create("audited").await?;
    let (_, id) = own.made_for_web("ci").await?;
    for (method, path, body) in routes(&id).into_iter().skip(3) {
        let answer = own.call(method.clone(), &path, &body).await?;
        ensure!(answer.status < 300, "{method} {path}: {}", told(&answer));
    }
    let person = format!("system:serviceaccount:default:{}-person", own.tenant.account);
    let events = shared_keyplane().await?.keyplane.audit_events()?;
    let mine = events.iter().filter(|event| event.to_string().contains(&person));
    let told: Vec<String> = mine
        .filter_map(|event| event.pointer("/data/reason").and_then(Value::as_str).map(ToOwned::to_owned))
        .collect();
    // An unlock of what is not locked changes nothing.
    ensure!(
        told == ["CreateApiKey", "UpdateApiKey", "RotateApiKey", "RevokeApiKey", "DeleteApiKey"],
        "{told:?}"
    );
    Ok(())
}
