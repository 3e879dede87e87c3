//! Which keys are good, however they are presented and by whichever method.

use std::time::Duration;

use anyhow::{Result, ensure};
use chrono::{SecondsFormat, Utc};
use http::Method;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};

use super::{PATIENT, ensure_answer, ensure_identity, ports, tenant, until_known};
use crate::replicas::{BEHIND_PROXY, replica};

/// Gateways ask by their own method or by their client's.
const METHODS: [Method; 6] =
    [Method::GET, Method::POST, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS];
pub(super) const INFERENCE: [&str; 2] = ["--scope", "inference"];

/// Headers of a request, and the status of its answer.
pub(super) type Row = (&'static str, Vec<(&'static str, String)>, u16);

/// Keys that are not good any more, or not yet.
pub(super) async fn ended(own: &Tenant) -> Result<Vec<Row>> {
    let soon = (Utc::now() + Duration::from_secs(3)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let (expired, manifest) =
        own.generate("expired", &["--scope", "inference", "--expires-at", &soon]).await?;
    own.kubectl.apply(&manifest).await?;
    let revoked = own.key("revoked", &INFERENCE).await?;
    own.patch_key("revoked", r#"{"revoked":true}"#).await?;
    let deleted = own.key("deleted", &INFERENCE).await?;
    own.kubectl.run(["delete", "apikey", "deleted", "--namespace", &own.account]).await?;
    let (unknown, _) = own.generate("unknown", &INFERENCE).await?;

    let (not_ready, manifest) =
        own.generate("not-ready", &["--namespace-id", "a4b1c0de-0000-4000-8000-000000000000"]).await?;
    own.kubectl.apply(&manifest).await?;
    own.key_with_reason("not-ready", "NamespaceNotOwned").await?;
    // A core Namespace that is somebody else's is in the way of the account's.
    let taken = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {0}-taken}}\n---\n\
         apiVersion: keyplane.dev/v1alpha1\nkind: Namespace\nmetadata: {{name: taken, namespace: {0}}}\n",
        own.account
    );
    own.kubectl.apply(&taken).await?;
    let (setting_up, manifest) = own.generate("setting-up", &["--kubernetes-namespace", "taken"]).await?;
    own.kubectl.apply(&manifest).await?;
    own.key_with_reason("setting-up", "NamespaceNotReady").await?;
    own.key_with_reason("expired", "Expired").await?;

    let mut rows = Vec::new();
    for (key, status) in
        [(expired, 401), (revoked, 401), (deleted, 401), (unknown, 401), (not_ready, 403), (setting_up, 503)]
    {
        let what = match key.name.as_str() {
            "expired" => "expired",
            "revoked" => "revoked",
            "deleted" => "deleted",
            "unknown" => "unknown",
            "not-ready" => "not ready",
            _ => "setting up",
        };
        rows.push((what, vec![("x-api-key", key.plaintext()?)], status));
        rows.push((what, vec![("authorization", format!("Bearer {}", key.plaintext()?))], status));
    }
    Ok(rows)
}

/// Ways to present one good key, of which another one is at hand.
pub(super) fn ways(key: &str, other: &str) -> Vec<Row> {
    let api_key = |key: &str| ("x-api-key", key.to_owned());
    let authorization = |text: String| ("authorization", text);
    let flipped = if key.ends_with('A') { "B" } else { "A" };
    let (most, _) = key.split_at(key.len() - 1);
    vec![
        ("x-api-key", vec![api_key(key)], 200),
        ("Bearer", vec![authorization(format!("Bearer {key}"))], 200),
        ("the scheme has no case", vec![authorization(format!("bEARER {key}"))], 200),
        ("nothing", vec![], 401),
        ("an empty header", vec![api_key("")], 401),
        ("an empty Bearer", vec![authorization("Bearer ".to_owned())], 401),
        ("no scheme", vec![authorization(key.to_owned())], 401),
        ("another scheme", vec![authorization(format!("Basic {key}"))], 401),
        ("the header twice", vec![api_key(key), api_key(key)], 401),
        ("two keys in two headers", vec![api_key(key), api_key(other)], 401),
        ("a bad one first", vec![api_key("letmein"), api_key(key)], 401),
        ("a bad one last", vec![api_key(key), api_key("letmein")], 401),
        ("a list", vec![api_key(&format!("{key}, {other}"))], 401),
        ("a list of one key", vec![api_key(&format!("{key},{key}"))], 401),
        ("a list with a bad one", vec![api_key(&format!("{key}, letmein"))], 401),
        (
            "two Bearers",
            vec![authorization(format!("Bearer {key}")), authorization(format!("Bearer {other}"))],
            401,
        ),
        ("a list of Bearers", vec![authorization(format!("Bearer {key}, Bearer {key}"))], 401),
        ("both places", vec![api_key(key), authorization(format!("Bearer {key}"))], 401),
        ("both places, the second empty", vec![api_key(key), authorization(String::new())], 401),
        (
            "both places, the second of another kind",
            vec![api_key(key), authorization("Basic QTpC".to_owned())],
            401,
        ),
        ("a wrong checksum", vec![api_key(&format!("{most}{flipped}"))], 401),
        ("a key cut short", vec![api_key(most)], 401),
        ("a key in capitals", vec![api_key(&key.to_ascii_uppercase())], 401),
        ("a key with more behind it", vec![api_key(&format!("{key}x"))], 401),
        ("the key's beginning", vec![api_key(key.get(..8).unwrap_or_default())], 401),
    ]
}

#[tokio::test]
async fn a_key_is_good_in_one_place_and_alone_and_while_it_lives_and_not_otherwise() -> Result<()> {
    let own = tenant("presented").await?;
    let replica = replica("presented", &[&PATIENT[..], &BEHIND_PROXY].concat()).await?;
    let key = own.key("good", &INFERENCE).await?;
    let other = own.key("other", &INFERENCE).await?;
    let digest = own.stored_key("good").await?.spec.digest.unwrap_or_default();
    let mut rows = ways(&key.plaintext()?, &other.plaintext()?);
    rows.push(("the digest", vec![("x-api-key", digest)], 401));
    rows.extend(ended(&own).await?);
    let newest = own.key("newest", &INFERENCE).await?;
    until_known(&replica, &newest).await?;

    let mut good = 0;
    for (port, api) in ports(&replica)? {
        for (what, headers, status) in &rows {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            for method in METHODS {
                let answer = api.send(method.clone(), "/v1/verify", &headers, b"").await?;
                ensure_answer(&format!("{port}: {method}, {what}"), &answer, *status)?;
                if *status == 200 {
                    good += 1;
                    ensure_identity(&own, &answer, &key, "inference").await?;
                }
            }
            let body = api.send(Method::POST, "/v1/verify/v1/chat?a=b", &headers, &[b'x'; 4096]).await?;
            ensure_answer(&format!("{port}: with a path and a body, {what}"), &body, *status)?;
            good += u64::from(*status == 200);
        }
    }
    until("every use to be counted, and nothing else", PATIENCE, || async {
        let status = own.stored_key("good").await?.status.unwrap_or_default();
        let count = status.usage.map_or(0, |usage| usage.count);
        ensure!(count <= good, "{count} uses of {good}");
        Ok(if count == good { Seen::Done(()) } else { Seen::NotYet(format!("{count} uses of {good}")) })
    })
    .await
}
