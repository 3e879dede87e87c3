//! The line of an exchange: written before the token is answered, and joined to what the API server recorded of the token.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use keyplane_tests::exchange::Answer;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;
use serde_json::Value;

use super::{line, tenant, text};

/// The `jti` of a token.
fn token_id(answer: &Answer) -> Result<String> {
    let token = answer.token().with_context(|| format!("{answer:?}"))?;
    let claims = token.split('.').nth(1).context("a JWT has three parts")?;
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims)?)?;
    Ok(text(&claims, "/jti").to_owned())
}

#[tokio::test]
async fn a_token_is_answered_after_its_line_is_written() -> Result<()> {
    let (shared, own) = tenant("before").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    for turn in 0..50 {
        let id = token_id(&own.exchange(&key).await?)?;
        // Looked for once: what is not there now came too late.
        let events = shared.keyplane.audit_events()?;
        let lines = events.iter().filter(|event| text(event, "/data/tokenId") == id).count();
        ensure!(lines == 1, "turn {turn}: {lines} lines of the token {id}");
    }
    Ok(())
}

#[tokio::test]
async fn a_tokens_id_leads_to_what_was_done_with_it_in_the_api_servers_log() -> Result<()> {
    let (shared, own) = tenant("joined").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let uid = own.stored_key("ci").await?.uid().context("a UID")?;
    let audit = shared.cluster.audit_log()?;
    let mark = audit.mark()?;
    let web = format!("--namespace={}-web", own.account);
    own.kubectl_of(&key).await?.run(["get", "configmaps", &web]).await?;
    let exchanged = line(&shared.keyplane, &uid, "K1020I").await?;
    let id = format!("JTI={}", text(&exchanged, "/data/tokenId"));
    let identity = format!("key-{uid}");
    until("the TokenRequest and the request made with the token", PATIENCE, || async {
        let events = audit.since(mark)?;
        let issued = events.iter().any(|event| {
            let object = event.object_ref.clone().unwrap_or_default();
            object.subresource == "token"
                && object.name == identity
                && event.annotations.get("authentication.kubernetes.io/issued-credential-id") == Some(&id)
        });
        let used = events.iter().any(|event| {
            let credentials = event.user.extra.get("authentication.kubernetes.io/credential-id");
            credentials.is_some_and(|credentials| credentials.contains(&id))
                && event.object_ref.as_ref().is_some_and(|object| object.resource == "configmaps")
        });
        Ok(if issued && used { Seen::Done(()) } else { Seen::NotYet(format!("{issued}, {used}")) })
    })
    .await
}
