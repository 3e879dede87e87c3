//! Keyplane's audit log: each thing in a key's life has its line, before it is acknowledged, and nobody can flood it.

mod full_disk;
mod life;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, Utc};
use keyplane_tests::keyplane_process::Keyplane;
use keyplane_tests::shared::{SharedKeyplane, shared_keyplane};
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use keyplane_tests::workspace;
use serde_json::Value;

async fn tenant(prefix: &str) -> Result<(&'static SharedKeyplane, Tenant)> {
    let shared = shared_keyplane().await?;
    let tenant = Tenant::create(shared.cluster, &shared.keyplane, prefix).await?;
    tenant.namespace("web").await?;
    Ok((shared, tenant))
}

fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn code(event: &Value) -> &str {
    text(event, "/data/code")
}

/// The lines about the resource with this UID, in their order.
fn about(events: &[Value], uid: &str) -> Vec<Value> {
    events.iter().filter(|event| text(event, "/data/id") == uid).cloned().collect()
}

/// Waits until there is a line with this code about the resource, and gives the last.
async fn line(keyplane: &Keyplane, uid: &str, wanted: &str) -> Result<Value> {
    until(&format!("a line {wanted} about {uid}"), PATIENCE, || async {
        let lines = about(&keyplane.audit_events()?, uid);
        let found = lines.iter().rfind(|event| code(event) == wanted).cloned();
        let codes: Vec<&str> = lines.iter().map(code).collect();
        Ok(found.map_or_else(|| Seen::NotYet(format!("{codes:?}")), Seen::Done))
    })
    .await
}

/// The documented codes, with their type and the fields that their lines may have.
fn documented() -> Result<BTreeMap<String, (String, BTreeSet<String>)>> {
    let document = std::fs::read_to_string(workspace::root().join("docs/audit-events.md"))?;
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect::<Vec<_>>();
    let mut codes = BTreeMap::new();
    for row in document.lines().filter(|line| line.contains("| `dev.keyplane.")) {
        let cells: Vec<Vec<String>> = row.split('|').map(words).collect();
        let [_, code, type_, _, _, fields, ..] = cells.as_slice() else { bail!("{row}") };
        let fields = fields.iter().cloned().chain(["code".to_owned()]).collect();
        codes.insert(code.concat(), (type_.concat(), fields));
    }
    ensure!(codes.len() > 15, "{codes:?}");
    Ok(codes)
}

/// Each line is an event of `CloudEvents` 1.0 as docs/audit-events.md describes it.
fn ensure_documented(events: &[Value]) -> Result<()> {
    let documented = documented()?;
    for event in events {
        ensure!(text(event, "/specversion") == "1.0", "{event}");
        ensure!(!text(event, "/id").is_empty(), "{event}");
        ensure!(text(event, "/source").starts_with("keyplane/"), "{event}");
        ensure!(text(event, "/datacontenttype") == "application/json", "{event}");
        let time = text(event, "/time");
        ensure!(time.ends_with('Z') && time.parse::<DateTime<Utc>>().is_ok(), "{event}");
        let known = documented.get(code(event)).with_context(|| format!("not documented: {event}"))?;
        ensure!(text(event, "/type") == known.0, "{event}");
        let attributes = event.as_object().context("an object")?.keys();
        let known_attributes =
            ["specversion", "id", "source", "type", "time", "subject", "datacontenttype", "data"];
        for attribute in attributes {
            ensure!(known_attributes.contains(&attribute.as_str()), "{event}");
        }
        for field in event.pointer("/data").and_then(Value::as_object).context("an object")?.keys() {
            ensure!(known.1.contains(field), "{field} is not documented: {event}");
        }
    }
    Ok(())
}
