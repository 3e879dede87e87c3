//! A key ends at its second, by a timer and for good.

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use keyplane_crds::ApiKeyState;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;
use serde_json::{Value, json};

const CONTROLLER: &str = "system:serviceaccount:keyplane-system:keyplane-controller";

/// How far away the expiry is when the key is declared: enough for what is to be seen before it.
const LIFE: TimeDelta = TimeDelta::seconds(20);

/// What there is of a key in the cluster besides its ApiKey.
async fn given(own: &Tenant, uid: &str) -> Result<Vec<String>> {
    let kinds = "rolebindings,serviceaccounts,secrets";
    let all = own.kubectl.run(["get", kinds, "--all-namespaces", "--output=name"]).await?;
    Ok(all.lines().filter(|line| line.contains(uid)).map(ToOwned::to_owned).collect())
}

#[tokio::test]
async fn a_key_ends_at_its_second_by_a_timer_and_everything_that_it_was_given_goes() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "second").await?;
    own.namespace("web").await?;
    let stamp = (Utc::now() + LIFE).to_rfc3339_opts(SecondsFormat::Secs, true);
    let end: DateTime<Utc> = stamp.parse()?;
    let key = own.key("short", &["--kubernetes-namespace", "web", "--expires-at", &stamp]).await?;
    let uid = own.stored_key("short").await?.uid().context("a UID")?;
    ensure!(given(&own, &uid).await?.len() == 3, "{:?}", given(&own, &uid).await?);

    let audit = shared.cluster.audit_log()?;
    let mark = audit.mark()?;
    let expired = own.key_with_reason("short", "Expired").await?;
    ensure!(expired.status.as_ref().and_then(|status| status.state) == Some(ApiKeyState::Expired));
    ensure!(own.exchange(&key).await?.status == 401);
    until("everything that the key was given to be gone", PATIENCE, || async {
        let left = given(&own, &uid).await?;
        Ok(if left.is_empty() { Seen::Done(()) } else { Seen::NotYet(format!("{left:?}")) })
    })
    .await?;

    // Until the second comes, the timer is all that there is: nothing of the key is written, or even asked for.
    let mut polled = Vec::new();
    for event in audit.since(mark)? {
        let at: DateTime<Utc> = event.request_received_timestamp.parse()?;
        let is_about = event.object_ref.as_ref().is_some_and(|object| {
            object.name.contains(&uid) || (object.name == "short" && object.namespace == own.account)
        });
        if event.user.username == CONTROLLER && is_about && event.verb != "watch" && at < end {
            polled.push(event);
        }
    }
    ensure!(polled.is_empty(), "{polled:?}");

    let is_end = |event: &&Value| {
        event.pointer("/data/id") == Some(&json!(uid))
            && event.pointer("/data/code") == Some(&json!("K1050I"))
    };
    let events = shared.keyplane.audit_events()?;
    let ends: Vec<&Value> = events.iter().filter(is_end).collect();
    // At least once: when another has just written the status, the line is written again, and says that it is the same.
    let first = ends.first().context("no line tells of the end")?;
    ensure!(ends.iter().all(|end| end["id"] == first["id"]), "{ends:?}");
    let told: DateTime<Utc> = first["time"].as_str().context("a time")?.parse()?;
    ensure!(told >= end, "told at {told}, and the key was to end at {end}");
    println!("expiry: told {} ms after the second", (told - end).num_milliseconds());
    Ok(())
}

#[tokio::test]
async fn no_command_leads_back_from_expired() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "no-way-back").await?;
    own.namespace("web").await?;
    let stamp = (Utc::now() + TimeDelta::seconds(3)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let (key, manifest) = own.generate("short", &["--kubernetes-namespace", "web"]).await?;
    let short = manifest.replace("spec:\n", &format!("spec:\n  expiresAt: {stamp}\n"));
    own.kubectl.apply(&short).await?;
    own.key_with_reason("short", "Expired").await?;

    let home = format!("--namespace={}", own.account);
    for change in [
        json!({"expiresAt": "2999-01-01T00:00:00Z"}),
        json!({"expiresAt": null}),
        json!({"displayName": "another"}),
        json!({"unlockedAt": "2026-01-01T00:00:00Z"}),
        json!({"rotation": {"gracePeriodSeconds": 600}}),
        json!({"digest": format!("sha256:{}", "0".repeat(64))}),
    ] {
        let refusal = own.patch_key("short", &change.to_string()).await.unwrap_err().to_string();
        ensure!(refusal.contains("Revoked or expired keys cannot be modified"), "{change}: {refusal}");
    }
    let later = short.replace(&stamp, "2999-01-01T00:00:00Z");
    for command in [
        vec!["apply", "--server-side", "--force-conflicts", "--filename=-"],
        vec!["apply", "--filename=-"],
        vec!["replace", "--filename=-"],
    ] {
        let refusal = own.kubectl.capture(&command, &later).await?.failure()?;
        ensure!(refusal.contains("Revoked or expired keys cannot be modified"), "{command:?}: {refusal}");
    }
    // The status, which the rule rests on, is nobody's to write but Keyplane's.
    let owner = format!("--as={}", own.owner());
    let patch = r#"{"status":{"state":"Active"}}"#;
    let attempt =
        ["patch", "apikey", "short", &home, "--subresource=status", "--type=merge", "-p", patch, &owner];
    let refusal = own.kubectl.capture(attempt, "").await?.failure()?;
    ensure!(refusal.to_lowercase().contains("forbidden"), "{refusal}");
    ensure!(own.exchange(&key).await?.status == 401);
    // As it is it may be applied for ever: a GitOps controller goes on without an error.
    own.kubectl.apply(&short).await?;
    own.key_with_reason("short", "Expired").await.map(drop)
}
