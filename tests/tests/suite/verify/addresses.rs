//! From where a key may be used: the client's address is the gateway's word where that is a trusted proxy.

use anyhow::{Result, ensure};
use http::Method;
use keyplane_crds::ApiKeyState;
use keyplane_tests::shared::shared_keyplane;

use super::{PATIENT, ensure_answer, ports, tenant, until_known};
use crate::replicas::{BEHIND_PROXY, replica};

const NAME: &str = "x-forwarded-for";

#[tokio::test]
async fn a_list_counts_for_the_gateways_client_and_too_many_denials_lock_the_key() -> Result<()> {
    let own = tenant("verify-address").await?;
    own.namespace("web").await?;
    let replica = replica("verify-address", &[&PATIENT[..], &BEHIND_PROXY].concat()).await?;
    let key = own.key_from("listed", "web", &["203.0.113.0/24", "2001:db8::/32"]).await?;
    let newest = own.key_from("newest", "web", &[]).await?;
    until_known(&replica, &newest).await?;
    let (plaintext, everywhere) = (key.plaintext()?, newest.plaintext()?);
    let rows: [(&[(&str, &str)], u16); 8] = [
        (&[(NAME, "203.0.113.9")], 200),
        (&[(NAME, "2001:db8::9")], 200),
        (&[(NAME, "198.51.100.1, 203.0.113.9, 127.0.0.9")], 200),
        (&[(NAME, "198.51.100.1")], 403),
        (&[(NAME, "203.0.113.9, 198.51.100.1")], 403),
        (&[(NAME, "203.0.113.9, unknown")], 403),
        (&[("forwarded", "for=203.0.113.9")], 403),
        (&[], 403),
    ];
    let mut denials = 0;
    for (port, api) in ports(&replica)? {
        for (more, status) in rows {
            let what = format!("{port}: {more:?}");
            let mut headers = vec![("x-api-key", everywhere.as_str())];
            headers.extend(more);
            ensure_answer(&what, &api.send(Method::GET, "/v1/verify", &headers, b"").await?, 200)?;
            let mut headers = vec![("x-api-key", plaintext.as_str())];
            headers.extend(more);
            ensure_answer(&what, &api.send(Method::GET, "/v1/verify", &headers, b"").await?, status)?;
            denials += u32::from(status == 403);
        }
    }
    // As many as the policy allows, and the next request from home meets the lock, on either port.
    let headers = [("x-api-key", plaintext.as_str()), (NAME, "198.51.100.1")];
    let [(_, public), (_, internal)] = ports(&replica)?;
    for _ in denials..20 {
        ensure_answer("denied", &internal.send(Method::GET, "/v1/verify", &headers, b"").await?, 403)?;
    }
    let locked = own.key_with_reason("listed", "Locked").await?;
    ensure!(locked.status.and_then(|status| status.state) == Some(ApiKeyState::Locked));
    let headers = [("x-api-key", plaintext.as_str()), (NAME, "203.0.113.9")];
    for api in [public, internal] {
        ensure_answer("locked", &api.send(Method::GET, "/v1/verify", &headers, b"").await?, 403)?;
    }
    Ok(())
}

#[tokio::test]
async fn what_a_stranger_says_of_its_client_is_not_believed_on_either_port() -> Result<()> {
    let own = tenant("verify-stranger").await?;
    let shared = shared_keyplane().await?;
    own.namespace("web").await?;
    let away = own.key_from("away", "web", &["203.0.113.0/24"]).await?;
    let home = own.key_from("home", "web", &["127.0.0.1"]).await?;
    until_known(&shared.keyplane, &home).await?;
    for (port, api) in ports(&shared.keyplane)? {
        for (key, status) in [(&home, 200), (&away, 403)] {
            let plaintext = key.plaintext()?;
            let headers = [("x-api-key", plaintext.as_str()), (NAME, "203.0.113.9")];
            let answer = api.send(Method::GET, "/v1/verify", &headers, b"").await?;
            ensure_answer(&format!("{port}: {}", key.name), &answer, status)?;
        }
    }
    Ok(())
}
