//! The requests that are sent through each gateway, and what must become of them.

use anyhow::{Result, ensure};
use keyplane_tests::gateways::Request;
use keyplane_tests::tenant::HeldKey;

use super::guarded::{AWAY, Guarded, HOME, IDENTITY};

/// More than any proxy holds in memory by default.
const LONG_BODY: usize = 300_000;

fn bearer(key: &HeldKey) -> Result<(&'static str, String)> {
    Ok(("authorization", format!("Bearer {}", key.plaintext()?)))
}

fn api_key(key: &HeldKey) -> Result<(&'static str, String)> {
    Ok(("x-api-key", key.plaintext()?))
}

/// Whatever the request is, it reaches the API as it was sent, but for the key.
pub(super) async fn accepted(guarded: &Guarded) -> Result<()> {
    let plain = Guarded::with_key(&guarded.key)?;
    guarded.ensure_accepted("x-api-key", &plain, &guarded.key).await?;
    let other = Guarded::with_key(&guarded.other)?;
    guarded.ensure_accepted("another key", &other, &guarded.other).await?;
    let request = Guarded::with_headers(vec![bearer(&guarded.key)?]);
    guarded.ensure_accepted("Bearer", &request, &guarded.key).await?;

    for (method, target) in [
        ("GET", "/"),
        ("PUT", "/v1/files/a%20b"),
        ("DELETE", "/v1/verify"),
        ("OPTIONS", "/v1/models?a=b&a=c"),
    ] {
        let request = Request { method, target, ..plain.clone() };
        let received = guarded.ensure_accepted(method, &request, &guarded.key).await?;
        ensure!(received.method == method && received.target == target, "{received:?}");
    }
    let body = vec![b'x'; LONG_BODY];
    let request =
        Request { method: "POST", target: "/v1/chat/completions", body: body.clone(), ..plain.clone() };
    let received = guarded.ensure_accepted("a body", &request, &guarded.key).await?;
    ensure!(received.method == "POST" && received.has_body(&body), "{received:?}");
    // What the next client of the same connection to Keyplane is told is not mixed up with what was left of the body.
    guarded.ensure_accepted("after a body", &other, &guarded.other).await?;
    Ok(())
}

pub(super) async fn refused(guarded: &Guarded) -> Result<()> {
    let (key, other) = (&guarded.key, &guarded.other);
    let both_in_one = format!("{}, {}", key.plaintext()?, other.plaintext()?);
    let unauthorized = [
        ("no key", vec![]),
        ("an empty key", vec![("x-api-key", String::new())]),
        ("no key at all", vec![("x-api-key", "letmein".to_owned())]),
        ("an unknown key", vec![api_key(&guarded.unknown)?]),
        ("an unknown key as Bearer", vec![bearer(&guarded.unknown)?]),
        ("another scheme", vec![("authorization", format!("Basic {}", key.plaintext()?))]),
        ("two headers", vec![api_key(key)?, api_key(other)?]),
        ("the same header twice", vec![api_key(key)?, api_key(key)?]),
        ("a good header and a bad one", vec![api_key(key)?, ("x-api-key", "letmein".to_owned())]),
        ("two keys in a header", vec![("x-api-key", both_in_one)]),
        ("both kinds of header", vec![api_key(key)?, bearer(key)?]),
    ];
    for (what, headers) in unauthorized {
        guarded.ensure_refused(what, &Guarded::with_headers(headers), &[401]).await?;
    }
    let two_bearers = Guarded::with_headers(vec![bearer(key)?, bearer(other)?]);
    // nginx takes two of these for no request at all.
    guarded.ensure_refused("two Bearers", &two_bearers, &[400, 401]).await?;

    let elsewhere = Guarded::with_key(&guarded.ssh_keys)?;
    guarded.ensure_refused("another scope", &elsewhere, &[403]).await?;
    // The proxy says which scope is asked for.
    for target in ["/?scope=ssh_keys", "/v1/verify?scope=ssh_keys", "?scope=ssh_keys"] {
        let request = Request { target, ..elsewhere.clone() };
        guarded.ensure_refused(target, &request, &[400, 403]).await?;
    }
    let mut request = elsewhere.clone();
    request.headers.push(("x-keyplane-require-scope", "ssh_keys".to_owned()));
    guarded.ensure_refused("a scope of the client's choice", &request, &[403]).await
}

/// What a client says of itself changes nothing of what the API is told.
pub(super) async fn pretended(guarded: &Guarded) -> Result<()> {
    let key = &guarded.key;
    let spellings = [
        ["x-keyplane-account", "x-keyplane-key-id", "x-keyplane-scope"],
        ["X-KEYPLANE-ACCOUNT", "X-Keyplane-Key-ID", "X-Keyplane-SCOPE"],
        ["x_keyplane_account", "x_keyplane_key_id", "X_Keyplane_Scope"],
        ["x-keyplane_account", "x_keyplane-key-id", "X-Keyplane_Scope"],
        ["x.keyplane.account", "x.keyplane-key.id", "X.Keyplane.Scope"],
        ["x!keyplane~account", "x+keyplane'key|id", "X*Keyplane^Scope"],
    ];
    for names in spellings {
        let mut request = Guarded::with_key(key)?;
        request.headers.extend(names.map(|name| (name, "all".to_owned())));
        guarded.ensure_accepted(names[0], &request, key).await?;
        request.headers.remove(0);
        guarded.ensure_refused(names[0], &request, &[401]).await?;
    }

    let mut request = Guarded::with_key(key)?;
    request.headers.push(("x-keyplane-require-scope", "no-scope".to_owned()));
    guarded.ensure_accepted("a scope that there is not", &request, key).await?;

    // A proxy takes off what `Connection` names, and must not take off what Keyplane or it itself said.
    for name in IDENTITY.into_iter().chain(["x-forwarded-for", "x-keyplane-require-scope"]) {
        let mut request = Guarded::with_key(key)?;
        request.headers.push(("connection", format!("close, {name}")));
        let answer = request.send(guarded.address()).await?;
        // Envoy takes such a request for an attack.
        if answer.status != 400 {
            guarded.ensure_accepted(&format!("{name} in Connection"), &request, key).await?;
        }
        let mut request = Guarded::with_key(&guarded.ssh_keys)?;
        request.headers.push(("connection", format!("close, {name}")));
        guarded.ensure_refused(&format!("{name} in Connection"), &request, &[400, 403]).await?;
    }
    Ok(())
}

/// The client's address is the one that it connects to the proxy from.
pub(super) async fn by_address(guarded: &Guarded) -> Result<()> {
    let at_home = Guarded::with_key(&guarded.at_home)?;
    guarded.ensure_accepted("from home", &at_home, &guarded.at_home).await?;
    let away = Request { from: AWAY, ..at_home.clone() };
    guarded.ensure_refused("from elsewhere", &away, &[403]).await?;
    let said = [
        ("x-forwarded-for", HOME.to_string()),
        ("x-forwarded-for", format!("{HOME}, 127.0.0.1")),
        ("forwarded", format!("for={HOME}")),
        ("x-real-ip", HOME.to_string()),
        ("true-client-ip", HOME.to_string()),
        ("x-envoy-external-address", HOME.to_string()),
        ("connection", "close, x-forwarded-for".to_owned()),
    ];
    for (name, value) in said {
        let what = format!("{name}: {value}");
        let mut request = away.clone();
        request.headers.push((name, value));
        // Envoy takes some of these for an attack.
        guarded.ensure_refused(&what, &request, &[400, 403]).await?;
    }
    // Nor does it keep out who may come in.
    let mut request = at_home.clone();
    request.headers.push(("x-forwarded-for", AWAY.to_string()));
    guarded.ensure_accepted("an address further left", &request, &guarded.at_home).await?;
    Ok(())
}
