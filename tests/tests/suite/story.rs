//! What people see of a key with kubectl: which live, what they may do, when they were used; and how it came to that.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use chrono::{SecondsFormat, Utc};
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use keyplane_tests::workspace;
use serde_json::{Value, json};

async fn tenant(prefix: &str) -> Result<Tenant> {
    let shared = shared_keyplane().await?;
    let tenant = Tenant::create(shared.cluster, &shared.keyplane, prefix).await?;
    tenant.namespace("web").await?;
    Ok(tenant)
}

/// The cell of a kubectl table in the row of `name`: columns begin where their headings do.
fn cell(table: &str, name: &str, column: &str) -> Result<String> {
    let mut lines = table.lines();
    let header = lines.next().context("a header")?;
    let start = header.find(column).with_context(|| format!("no column {column}: {header}"))?;
    let rest = header[start..].trim_start_matches(column);
    let end = start + column.len() + rest.len() - rest.trim_start().len();
    let row = lines.find(|line| line.split_whitespace().next() == Some(name)).context("a row")?;
    let to_the_end = rest.trim().is_empty();
    let text = if to_the_end { row.get(start..) } else { row.get(start..end) };
    Ok(text.unwrap_or_default().trim().to_owned())
}

#[tokio::test]
async fn the_table_says_which_keys_live_what_they_may_do_and_when_they_were_used_and_end() -> Result<()> {
    let own = tenant("table").await?;
    let end = "2999-01-01T00:00:00Z";
    let used = own.key("used", &["--kubernetes-namespace", "web", "--expires-at", end]).await?;
    own.key("unused", &["--scope", "inference"]).await?;
    own.key("revoked", &["--all-namespaces", "--role", "view"]).await?;
    own.patch_key("revoked", r#"{"revoked":true}"#).await?;
    own.key_with_reason("revoked", "Revoked").await?;
    own.until_admitted(&used).await?;

    let home = format!("--namespace={}", own.account);
    let table = until("the use to be counted", PATIENCE, || async {
        let table = own.kubectl.run(["get", "apikeys", &home]).await?;
        let last = cell(&table, "used", "LAST-USED")?;
        Ok(if last.ends_with('s') { Seen::Done(table) } else { Seen::NotYet(table) })
    })
    .await?;
    let prefix = used.plaintext()?.chars().take("kpk_Ab3d".len()).collect::<String>();
    for (name, column, wanted) in [
        ("used", "STATE", "Active"),
        ("used", "ACCESS", "edit in web"),
        ("used", "EXPIRES", end),
        ("used", "PREFIX", &prefix),
        ("used", "REASON", "Active"),
        ("unused", "STATE", "Active"),
        ("unused", "ACCESS", "inference"),
        ("unused", "LAST-USED", ""),
        ("unused", "EXPIRES", ""),
        ("revoked", "STATE", "Revoked"),
        ("revoked", "ACCESS", ""),
        ("revoked", "REASON", "Revoked"),
    ] {
        let seen = cell(&table, name, column)?;
        ensure!(seen == wanted, "{column} of {name} is {seen:?}, not {wanted:?}:\n{table}");
    }
    ensure!(!cell(&table, "used", "AGE")?.is_empty(), "{table}");
    let wide = own.kubectl.run(["get", "apikeys", &home, "--output=wide"]).await?;
    ensure!(cell(&wide, "used", "USES")? == "1", "{wide}");
    ensure!(cell(&wide, "used", "LAST-ADDRESS")? == "127.0.0.1", "{wide}");
    Ok(())
}

/// The reasons of the Events of a key, in the order in which they happened.
async fn told(own: &Tenant, name: &str) -> Result<Vec<String>> {
    let home = format!("--namespace={}", own.account);
    let list = own.kubectl.run(["get", "events.events.k8s.io", &home, "--output=json"]).await?;
    let list: Value = serde_json::from_str(&list)?;
    let events = list.pointer("/items").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |event: &Value, pointer: &str| {
        event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut events: Vec<(String, String)> = events
        .iter()
        .filter(|event| text(event, "/regarding/kind") == "ApiKey" && text(event, "/regarding/name") == name)
        .map(|event| (text(event, "/eventTime"), text(event, "/reason")))
        .collect();
    events.sort();
    Ok(events.into_iter().map(|(_, reason)| reason).collect())
}

async fn until_told(own: &Tenant, name: &str, reason: &str) -> Result<()> {
    until(&format!("an Event {reason}"), PATIENCE, || async {
        let told = told(own, name).await?;
        let is_told = told.iter().any(|told| told == reason);
        Ok(if is_told { Seen::Done(()) } else { Seen::NotYet(format!("{told:?}")) })
    })
    .await
}

#[tokio::test]
async fn describe_tells_the_story_of_a_key() -> Result<()> {
    let own = tenant("story").await?;
    let manifest = json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey",
        "metadata": {"name": "ci", "namespace": own.account},
        "spec": {"delivery": {"secretName": "ci"}, "scope": {"kubernetesExec": {"namespaces": ["web"]}}},
    });
    own.kubectl.apply(&manifest.to_string()).await?;
    own.wait_ready("apikey/ci").await?;
    let key = own.delivered_key("ci").await?;
    until_told(&own, "ci", "KeyIssued").await?;
    own.until_admitted(&key).await?;
    until("the use to be counted", PATIENCE, || async {
        let usage = own.stored_key("ci").await?.status.and_then(|status| status.usage);
        Ok(if usage.is_some() { Seen::Done(()) } else { Seen::NotYet("no usage".to_owned()) })
    })
    .await?;
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    own.patch_key("ci", &json!({"rotation": {"requestedAt": now}}).to_string()).await?;
    until_told(&own, "ci", "KeyRotated").await?;
    let second = own.delivered_key("ci").await?;
    ensure!(second.plaintext()? != key.plaintext()?);
    own.patch_key("ci", r#"{"revoked":true}"#).await?;
    own.key_with_reason("ci", "Revoked").await?;
    until_told(&own, "ci", "Revoked").await?;

    let told = told(&own, "ci").await?;
    let mut rest = told.iter();
    for reason in ["KeyIssued", "Active", "KeyIssued", "KeyRotated", "Revoked"] {
        ensure!(rest.any(|told| told == reason), "{reason} is not in its place: {told:?}");
    }
    let home = format!("--namespace={}", own.account);
    let story = own.kubectl.run(["describe", "apikey", "ci", &home]).await?;
    let words = story.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "Secret Name: ci",
        "Requested At:",
        "Revoked: true",
        "Reason: Revoked",
        "State: Revoked",
        "Count: 1",
        "Last Used Ip: 127.0.0.1",
        "Last Used Version: 1",
        "Refused After Millis:",
        "Unbound After Millis:",
        "Number: 2",
        "the key was revoked; make another for further use",
        "Normal Active",
        "keyplane-controller version 1: Keyplane made a version of a key and delivered it",
        "keyplane-controller version 2: Keyplane made a version of a key and delivered it",
        "keyplane-controller version 2: Another version of a key verifies from now on",
        "keyplane-controller the key was revoked",
    ] {
        ensure!(words.contains(part), "{part:?} is not in\n{story}");
    }
    for secret in [key.plaintext()?, second.plaintext()?] {
        ensure!(!story.contains(&secret), "a key's plaintext is in what describe shows");
    }
    // kubectl's own view of the Events, in the order of their times.
    let events = own.kubectl.run(["events", "--for=apikey/ci", &home]).await?;
    let place = |reason: &str| events.find(reason).with_context(|| format!("{reason}:\n{events}"));
    ensure!(place("KeyIssued")? < place("KeyRotated")?, "{events}");
    ensure!(place("KeyRotated")? < place(" Revoked")?, "{events}");
    Ok(())
}

#[tokio::test]
async fn explain_tells_what_each_field_is_for() -> Result<()> {
    let shared = shared_keyplane().await?;
    for (field, part) in [
        ("apikey.spec", "digest"),
        ("apikey.spec.delivery", "hands it over"),
        ("apikey.spec.delivery.secretName", "never overwritten"),
        ("apikey.spec.delivery.sealedTo.sshKey", "ssh-ed25519 or ssh-rsa"),
        ("apikey.spec.rotation", "replaced"),
        ("apikey.spec.rotation.gracePeriodSeconds", "in seconds"),
        ("apikey.spec.rotation.requestedAt", "RFC 3339"),
        ("apikey.spec.allowedCidrs", "lock the key"),
        ("apikey.spec.unlockedAt", "lock"),
        ("apikey.spec.expiresAt", "RFC 3339"),
        ("apikey.spec.revoked", "always true"),
        ("apikey.status.usage", "used"),
        ("apikey.status.lock", "locked"),
        ("apikey.status.securityEvents", "owner"),
        ("apikey.status.revocation.unboundAfterMillis", "RoleBindings were gone"),
        ("apikey.status.sealedKey", "age"),
        ("account.spec.limits.activeApiKeys", "50"),
        ("account.spec.limits.namespaces", "10"),
        ("account.spec.limits.sshKeys", "25"),
    ] {
        let said = shared.cluster.kubectl().run(["explain", field]).await?;
        let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(words.contains("DESCRIPTION") && !words.contains("<empty>"), "{field}: {said}");
        ensure!(words.contains(part), "{part:?} is not in what is said about {field}:\n{said}");
    }
    Ok(())
}

/// Of all resources that the tests of this run have made so far, and of all changes that Keyplane told.
#[tokio::test]
async fn every_reason_that_is_seen_is_in_the_documentation() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = tenant("reasons").await?;
    let (_, manifest) = own.generate("wrong", &["--kubernetes-namespace", "nowhere"]).await?;
    own.kubectl.apply(&manifest).await?;
    own.key_with_reason("wrong", "NamespaceNotOwned").await?;

    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    let kinds = "accounts,apikeys,sshkeys,namespaces.keyplane.dev";
    let list = shared.cluster.kubectl().run(["get", kinds, "--all-namespaces", "--output=json"]).await?;
    let list: Value = serde_json::from_str(&list)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for object in list["items"].as_array().into_iter().flatten() {
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        for condition in conditions.into_iter().flatten() {
            seen.insert((text(&object["kind"]), text(&condition["reason"])));
        }
    }
    for event in shared.keyplane.audit_events()? {
        let is_readiness = ["K1003", "K1010W", "S1000", "N1000", "A1000"]
            .iter()
            .any(|code| text(&event["data"]["code"]).starts_with(code));
        if is_readiness {
            let subject = text(&event["subject"]);
            let kind = subject.split('/').next().unwrap_or_default();
            seen.insert((kind.to_owned(), text(&event["data"]["reason"])));
        }
    }
    ensure!(seen.contains(&("ApiKey".to_owned(), "NamespaceNotOwned".to_owned())), "{seen:?}");

    let document = std::fs::read_to_string(workspace::root().join("docs/conditions.md"))?;
    let rows: Vec<Vec<&str>> = document
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    for (kind, reason) in seen {
        let row = rows.iter().find(|row| row[1] == format!("`{reason}`") && row[2].contains(&kind));
        let row = row.with_context(|| format!("{reason} of {kind} is not in docs/conditions.md"))?;
        ensure!(row[4].len() > 3, "{reason} has no remedy: {row:?}");
    }
    Ok(())
}
