//! `/v1/verify` tells a gateway whether a key may be used and whose it is: the same on the public port and on the internal
//! one, whatever the method, and never with a body.

mod addresses;
mod connections;
mod grpc;
mod presented;
mod scopes;
mod secrecy;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_tests::http_api::{HttpAnswer, HttpApi};
use keyplane_tests::keyplane_process::Keyplane;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;

/// The headers that tell whose a key is.
const IDENTITY: [&str; 3] = ["x-keyplane-account", "x-keyplane-key-id", "x-keyplane-scope"];
/// A replica that is refused by again and again: so many denials do not lock a key.
const PATIENT: [&str; 2] = ["--lock-after-denials", "20"];

async fn tenant(prefix: &str) -> Result<Tenant> {
    let shared = shared_keyplane().await?;
    Tenant::create(shared.cluster, &shared.keyplane, prefix).await
}

/// Both ports of a Keyplane, by name.
fn ports(keyplane: &Keyplane) -> Result<[(&'static str, HttpApi); 2]> {
    Ok([
        ("public", HttpApi::at(&keyplane.url(), Some(keyplane.ca_file()))?),
        ("internal", HttpApi::at(&keyplane.internal_url(), None)?),
    ])
}

/// Waits until a replica knows a key. Whoever knows of the newest knows of all: they come through one watch, in their order.
async fn until_known(keyplane: &Keyplane, newest: &HeldKey) -> Result<()> {
    let [_, (_, internal)] = ports(keyplane)?;
    let key = newest.plaintext()?;
    until(&format!("{} to be known", newest.name), PATIENCE, || async {
        let answer = internal.send(Method::GET, "/v1/verify", &[("x-api-key", &key)], b"").await?;
        Ok(if answer.status == 200 { Seen::Done(()) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await
}

/// What is true of every answer: no body, not to be cached, and nothing said of a key that is refused.
fn ensure_answer(what: &str, answer: &HttpAnswer, status: u16) -> Result<()> {
    ensure!(answer.status == status, "{what}: {status} expected: {answer:?}");
    ensure!(answer.text.is_empty(), "{what}: a body: {answer:?}");
    ensure!(answer.header("content-length").is_none_or(|length| length == "0"), "{what}: {answer:?}");
    ensure!(answer.header("cache-control") == Some("no-store"), "{what}: {answer:?}");
    let told = IDENTITY.map(|name| answer.headers.get_all(name).iter().count());
    let expected = if status == 200 { [1; 3] } else { [0; 3] };
    ensure!(told == expected, "{what}: {answer:?}");
    ensure!(answer.header("retry-after") == (status == 503).then_some("1"), "{what}: {answer:?}");
    Ok(())
}

/// Whose the key is, as the answer says it.
async fn ensure_identity(own: &Tenant, answer: &HttpAnswer, key: &HeldKey, scope: &str) -> Result<()> {
    let uid = own.stored_key(&key.name).await?.uid().context("a UID")?;
    let told = IDENTITY.map(|name| answer.header(name).unwrap_or_default());
    ensure!(told == [own.account.as_str(), uid.as_str(), scope], "{}: {told:?}", key.name);
    Ok(())
}
