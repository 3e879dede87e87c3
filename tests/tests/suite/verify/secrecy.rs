//! A key that stands where none belongs is written down nowhere.

use anyhow::{Result, ensure};
use http::Method;

use super::{PATIENT, ports, tenant};
use crate::replicas::replica;

#[tokio::test]
async fn a_key_in_the_address_or_in_another_header_is_in_no_log() -> Result<()> {
    let own = tenant("secrecy").await?;
    // As talkative as it gets.
    let replica = replica("secrecy", &[&PATIENT[..], &["--log", "debug"]].concat()).await?;
    let (key, _) = own.generate("nobodys", &["--scope", "all"]).await?;
    let key = key.plaintext()?;
    for (port, api) in ports(&replica)? {
        for (path, header, status) in [
            (format!("/v1/verify?scope={key}"), None, 400),
            (format!("/v1/verify?x-api-key={key}"), None, 400),
            (format!("/v1/verify?{key}"), None, 400),
            (format!("/v1/verify/{key}?key={key}"), None, 401),
            ("/v1/verify".to_owned(), Some(("x-keyplane-require-scope", key.clone())), 400),
            ("/v1/verify".to_owned(), Some(("x-request-id", key.clone())), 401),
            ("/v1/verify".to_owned(), Some(("authorization", format!("Basic {key}"))), 401),
            (format!("/{key}"), None, 404),
        ] {
            let headers: Vec<_> = header.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = api.send(Method::GET, &path, &headers, b"").await?;
            ensure!(answer.status == status, "{port}: {status} expected: {}", answer.status);
        }
    }
    let (_, secret) = key.split_once('_').unwrap_or_default();
    ensure!(!replica.log().contains(secret), "the log holds a key");
    let events = replica.audit_events()?;
    ensure!(!events.is_empty(), "refusals are taken down");
    ensure!(!serde_json::to_string(&events)?.contains(secret), "the audit log holds a key");
    Ok(())
}
