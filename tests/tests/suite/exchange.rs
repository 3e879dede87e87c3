//! The exchange's answers, as a table; what it refuses it refuses alike.

mod held_token;
mod refusals;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use keyplane_tests::audit_log::AuditEvent;
use keyplane_tests::exchange::{Answer, post};
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};

const V1: &str = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false}}"#;
const V1BETA1: &str =
    r#"{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","spec":{}}"#;

async fn tenant(prefix: &str) -> Result<Tenant> {
    let shared = shared_keyplane().await?;
    Tenant::create(shared.cluster, &shared.keyplane, prefix).await
}

async fn ask(headers: &[(&str, String)], body: &str) -> Result<Answer> {
    let keyplane = &shared_keyplane().await?.keyplane;
    post(&keyplane.url(), keyplane.ca_file(), headers, body.as_bytes()).await
}

#[tokio::test]
async fn an_answer_has_the_version_that_was_asked_for_and_ten_minutes_of_life() -> Result<()> {
    let own = tenant("versions").await?;
    own.namespace("web").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    for (body, version) in [
        ("", "client.authentication.k8s.io/v1"),
        (" \n", "client.authentication.k8s.io/v1"),
        (V1, "client.authentication.k8s.io/v1"),
        (V1BETA1, "client.authentication.k8s.io/v1beta1"),
    ] {
        let answer = ask(&[("x-api-key", key.plaintext()?)], body).await?;
        ensure!(answer.status == 200, "{answer:?}");
        ensure!(answer.at("/apiVersion").as_deref() == Some(version), "{answer:?}");
        ensure!(answer.at("/kind").as_deref() == Some("ExecCredential"), "{answer:?}");
        let life = expiry(&answer)? - Utc::now();
        ensure!((500..=600).contains(&life.num_seconds()), "a life of {life}");
    }
    for (body, part) in
        [("{", "JSON"), ("[]", "ExecCredential"), (r#"{"apiVersion":"v1","kind":"Pod"}"#, "kind")]
    {
        let answer = ask(&[("x-api-key", key.plaintext()?)], body).await?;
        ensure!(
            answer.status == 400 && answer.at("/detail").is_some_and(|detail| detail.contains(part)),
            "{answer:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_waits_for_its_namespace_is_asked_to_come_again() -> Result<()> {
    let own = tenant("setting-up").await?;
    // A namespace that is the account's but cannot stand: its core name is taken by somebody else.
    own.kubectl.run(["create", "namespace", &format!("{}-taken", own.account)]).await?;
    own.kubectl
        .apply(&format!(
            "apiVersion: keyplane.dev/v1alpha1\nkind: Namespace\nmetadata: {{name: taken, namespace: {}}}\n",
            own.account
        ))
        .await?;
    let (key, manifest) = own.generate("waiting", &["--kubernetes-namespace", "taken"]).await?;
    own.kubectl.apply(&manifest).await?;
    own.key_with_reason("waiting", "NamespaceNotReady").await?;
    let answer = own.exchange(&key).await?;
    ensure!(answer.status == 503 && answer.retry_after == Some(1), "{answer:?}");

    // A scope that cannot be met is told apart: the holder has the whole key and may know.
    let (wrong, manifest) = own.generate("wrong", &["--kubernetes-namespace", "nowhere"]).await?;
    own.kubectl.apply(&manifest).await?;
    own.key_with_reason("wrong", "NamespaceNotOwned").await?;
    let answer = until_status(&own, &wrong, 403).await?;
    ensure!(answer.at("/detail").is_some_and(|detail| detail.contains("nowhere")), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_token_never_says_to_outlive_its_key_and_the_key_ends_at_its_second() -> Result<()> {
    let own = tenant("expiry").await?;
    own.namespace("web").await?;
    let stamp = (Utc::now() + Duration::from_secs(8)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let end: DateTime<Utc> = stamp.parse()?;
    let key = own.key("short", &["--kubernetes-namespace", "web", "--expires-at", &stamp]).await?;
    let answer = own.exchange(&key).await?;
    ensure!(expiry(&answer)? <= end, "{answer:?}");

    own.key_with_reason("short", "Expired").await?;
    let late = Utc::now() - end;
    println!("expiry: state Expired seen {} ms after the second", late.num_milliseconds());
    let answer = own.exchange(&key).await?;
    ensure!(answer.status == 401 && answer.code().as_deref() == Some("api_key_expired"), "{answer:?}");
    let refusal =
        own.patch_key("short", r#"{"expiresAt":"2999-01-01T00:00:00Z"}"#).await.unwrap_err().to_string();
    ensure!(refusal.contains("Revoked or expired keys cannot be modified"), "{refusal}");
    Ok(())
}

#[tokio::test]
async fn a_key_that_was_expired_at_creation_can_be_mended() -> Result<()> {
    let own = tenant("mend").await?;
    own.namespace("web").await?;
    let (key, manifest) = own.generate("late", &["--kubernetes-namespace", "web"]).await?;
    let manifest = manifest.replace("spec:\n", "spec:\n  expiresAt: 2020-01-01T00:00:00Z\n");
    own.kubectl.apply(&manifest).await?;
    let stored = own.key_with_reason("late", "ExpiredAtCreation").await?;
    ensure!(stored.status.unwrap_or_default().state == Some(keyplane_crds::ApiKeyState::Invalid));
    own.patch_key("late", r#"{"expiresAt":"2999-01-01T00:00:00Z"}"#).await?;
    own.key_with_reason("late", "Active").await?;
    until_status(&own, &key, 200).await?;
    Ok(())
}

#[tokio::test]
async fn of_two_keys_with_one_digest_the_older_is_the_key() -> Result<()> {
    let (own, thief) = tokio::try_join!(tenant("digest"), tenant("thief"))?;
    let web = own.namespace("web").await?;
    thief.namespace("web").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let digest = own.stored_key("ci").await?.spec.digest.unwrap_or_default();
    // Creation times have whole seconds; within one the UID decides. The thief comes a second later.
    until("the next second", PATIENCE, || async {
        let created = own.stored_key("ci").await?.metadata.creation_timestamp.context("stored")?;
        let next = Utc::now().timestamp() > created.0.as_second();
        Ok(if next { Seen::Done(()) } else { Seen::NotYet("the same second".to_owned()) })
    })
    .await?;
    let manifest = format!(
        "apiVersion: keyplane.dev/v1alpha1\nkind: ApiKey\nmetadata: {{name: stolen, namespace: {}}}\n\
         spec: {{digest: '{digest}', scope: {{kubernetesExec: {{allNamespaces: true}}}}}}\n",
        thief.account
    );
    thief.kubectl.apply(&manifest).await?;
    let stolen = thief.key_with_reason("stolen", "DuplicateDigest").await?;
    let message = &stolen.status.context("a status")?.conditions[0].message;
    ensure!(!message.contains(&own.account), "the message tells a stranger whose key it is: {message}");
    own.kubectl_of(&key).await?.run(["get", "pods", "--namespace", &web]).await?;
    Ok(())
}

/// Verification is memory only: what the API's own identity asks of the API server is watches and TokenRequests.
#[tokio::test]
async fn an_exchange_asks_the_api_server_for_the_token_and_nothing_else() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = tenant("lookups").await?;
    own.namespace("web").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let audit = shared.cluster.audit_log()?;
    let mark = audit.mark()?;
    for _ in 0..5 {
        own.until_admitted(&key).await?;
    }
    // Nothing was shown that could be reviewed; other tests call with access tokens meanwhile.
    let is_review = |event: &AuditEvent| event.request_uri.contains("reviews");
    // A watch whose place in time is too old begins with a list of pages, whoever asks the exchange meanwhile.
    let is_watching = |event: &AuditEvent| event.verb == "watch" || event.request_uri.contains("limit=500");
    let own_requests = |event: &AuditEvent| {
        event.user.username == "system:serviceaccount:keyplane-system:keyplane-api"
            && !is_watching(event)
            && !is_review(event)
    };
    until("five TokenRequests in the audit log", PATIENCE, || async {
        let events: Vec<_> = audit.since(mark)?.into_iter().filter(own_requests).collect();
        let minted = events
            .iter()
            .filter(|event| event.object_ref.as_ref().is_some_and(|object| object.subresource == "token"))
            .count();
        ensure!(
            events
                .iter()
                .all(|event| event.object_ref.as_ref().is_some_and(|object| object.subresource == "token")),
            "{events:?}"
        );
        Ok(if minted >= 5 { Seen::Done(()) } else { Seen::NotYet(format!("{minted}")) })
    })
    .await
}

async fn until_status(own: &Tenant, key: &HeldKey, status: u16) -> Result<Answer> {
    until(&format!("the answer {status}"), PATIENCE, || async {
        let answer = own.exchange(key).await?;
        Ok(if answer.status == status { Seen::Done(answer) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await
}

fn expiry(answer: &Answer) -> Result<DateTime<Utc>> {
    let text = answer.at("/status/expirationTimestamp").with_context(|| format!("{answer:?}"))?;
    Ok(text.parse()?)
}
