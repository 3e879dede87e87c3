//! What the log tells of one key, from its declaration to its deletion; and how it writes odd texts.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use chrono::Utc;
use keyplane_crds::ApiKey;
use keyplane_tests::keyplane_process::KeyplaneOptions;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::{about, code, ensure_documented, line, tenant, text};

#[tokio::test]
async fn a_keys_whole_life_is_in_the_log_in_its_order() -> Result<()> {
    let (shared, own) = tenant("life").await?;
    let keyplane = &shared.keyplane;
    let home = format!("--namespace={}", own.account);
    let manager = "--field-manager=gitops-robot";
    let spec = json!({
        "delivery": {"secretName": "ci"}, "scope": {"kubernetesExec": {"namespaces": ["web"]}},
    });
    let change = async |fields: Value| {
        let patch = json!({ "spec": fields }).to_string();
        own.kubectl.run(["patch", "apikey", "ci", &home, "--type=merge", manager, "-p", &patch]).await
    };
    let manifest = json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey",
        "metadata": {"name": "ci", "namespace": own.account}, "spec": spec,
    });
    let apply = ["apply", "--server-side", manager, "--filename=-"];
    own.kubectl.capture(apply, &manifest.to_string()).await?.success()?;
    own.wait_ready("apikey/ci").await?;
    let uid = own.stored_key("ci").await?.uid().context("a UID")?;
    let declared = line(keyplane, &uid, "K1000I").await?;
    ensure!(text(&declared, "/subject") == format!("ApiKey/{}/ci", own.account), "{declared}");
    ensure!(text(&declared, "/source") == "keyplane/controller", "{declared}");
    ensure!(text(&declared, "/data/account") == own.account && text(&declared, "/data/name") == "ci");
    ensure!(line(keyplane, &uid, "K1010I").await?["data"]["version"] == json!(1));

    let first = own.delivered_key("ci").await?;
    own.until_admitted(&first).await?;
    let exchanged = line(keyplane, &uid, "K1020I").await?;
    ensure!(text(&exchanged, "/data/address") == "127.0.0.1", "{exchanged}");
    ensure!(text(&exchanged, "/data/addressSource") == "connection", "{exchanged}");
    ensure!(!text(&exchanged, "/data/tokenId").is_empty(), "{exchanged}");
    ensure!(exchanged["data"]["version"] == json!(1), "{exchanged}");
    ensure!(text(&exchanged, "/source").starts_with("keyplane/api/"), "{exchanged}");

    // Changed, and so denied and locked; then unlocked.
    let before = own.stored_key("ci").await?.metadata.generation;
    change(json!({"allowedCidrs": ["203.0.113.0/24"]})).await?;
    let after = own.key_with_reason("ci", "Active").await?.metadata.generation;
    let changed = line(keyplane, &uid, "K1001I").await?;
    ensure!(changed["data"]["generation"] == json!({"from": before, "to": after}), "{changed}");
    until("the key to be locked", PATIENCE, || async {
        let answer = own.exchange(&first).await?;
        let is_locked = own.stored_key("ci").await?.status.is_some_and(|status| status.lock.is_some());
        Ok(if is_locked { Seen::Done(()) } else { Seen::NotYet(answer.text) })
    })
    .await?;
    own.key_with_reason("ci", "Locked").await?;
    let denied = line(keyplane, &uid, "K1021W").await?;
    ensure!(text(&denied, "/data/reason") == "AddressDenied", "{denied}");
    ensure!(text(&denied, "/data/address") == "127.0.0.1", "{denied}");
    let locked = line(keyplane, &uid, "K1030W").await?;
    ensure!(text(&locked, "/data/address") == "127.0.0.1", "{locked}");
    // Lifts every lock from before this moment.
    let now = Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    change(json!({"allowedCidrs": ["203.0.113.0/24", "127.0.0.0/8"], "unlockedAt": now})).await?;
    own.key_with_reason("ci", "Active").await?;
    line(keyplane, &uid, "K1030I").await?;

    let now = Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    change(json!({"rotation": {"requestedAt": now}})).await?;
    ensure!(line(keyplane, &uid, "K1040I").await?["data"]["version"] == json!(2));
    line(keyplane, &uid, "K1052I").await?;
    let second = own.delivered_key("ci").await?;
    until("the old key to be refused and the new one to be accepted", PATIENCE, || async {
        let answers = (own.exchange(&first).await?.status, own.exchange(&second).await?.status);
        Ok(if answers == (401, 200) { Seen::Done(()) } else { Seen::NotYet(format!("{answers:?}")) })
    })
    .await?;
    ensure!(line(keyplane, &uid, "K1020I").await?["data"]["version"] == json!(2));

    change(json!({"revoked": true})).await?;
    line(keyplane, &uid, "K1051I").await?;
    own.key_with_reason("ci", "Revoked").await?;
    ensure!(own.exchange(&second).await?.status == 401);
    until("the second version to be remembered", PATIENCE, || async {
        let last = line(keyplane, &uid, "K1052I").await?;
        let is_second = last["data"]["version"] == json!(2);
        Ok(if is_second { Seen::Done(()) } else { Seen::NotYet(last.to_string()) })
    })
    .await?;
    own.kubectl.run(["delete", "apikey", "ci", &home, "--timeout=60s"]).await?;
    line(keyplane, &uid, "K1002I").await?;

    // Each once, one after the other, for as long as nothing is refused or written by another process.
    let lines = about(&keyplane.audit_events()?, &uid);
    let mut told: Vec<&str> =
        lines.iter().filter(|event| text(event, "/source") == "keyplane/controller").map(code).collect();
    told.dedup();
    let wanted = [
        "K1000I", "K1010I", "K1003I", "K1001I", "K1030W", "K1001I", "K1030I", "K1003I", "K1001I", "K1010I",
        "K1040I", "K1001I", "K1051I", "K1002I",
    ];
    let mut rest = told.iter();
    for code in wanted {
        ensure!(rest.any(|told| *told == code), "{code} is not in its place: {told:?}");
    }
    // Written again after an attempt that met a newer object, a line is the same line.
    let mut by_id: BTreeMap<(&str, &str), &Value> = BTreeMap::new();
    for event in &lines {
        let same = by_id.insert((text(event, "/source"), text(event, "/id")), event);
        ensure!(
            same.is_none_or(|same| same["data"] == event["data"]),
            "an id stands for two: {same:?}, {event}"
        );
    }
    ensure_documented(&keyplane.audit_events()?)
}

#[tokio::test]
async fn a_refusal_names_the_key_and_why() -> Result<()> {
    let (shared, own) = tenant("refused").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    own.patch_key("ci", r#"{"revoked":true}"#).await?;
    let uid = own.key_with_reason("ci", "Revoked").await?.uid().context("a UID")?;
    ensure!(own.exchange(&key).await?.status == 401);
    let refused = line(&shared.keyplane, &uid, "K1020W").await?;
    ensure!(text(&refused, "/data/reason") == "Revoked", "{refused}");
    ensure!(text(&refused, "/data/address") == "127.0.0.1", "{refused}");
    ensure!(text(&refused, "/data/addressSource") == "connection", "{refused}");
    Ok(())
}

#[tokio::test]
async fn whatever_texts_hold_a_line_is_a_line() -> Result<()> {
    let (shared, own) = tenant("odd").await?;
    let odd = ["a\nb", "{\"code\":\"K1020I\"}", "\u{2028}", "\u{202e}gnp", "\u{1b}[31m", "ü\u{0}", "\u{85}"];
    let (_, manifest) = own.generate("odd", &["--kubernetes-namespace", "web"]).await?;
    let digest =
        manifest.lines().find_map(|line| line.trim().strip_prefix("digest: ")).context("a digest")?;
    let object = json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey",
        "metadata": {"name": "odd.name-0.1", "namespace": own.account},
        "spec": {
            "displayName": "two\nlines \u{202e}", "digest": digest.trim_matches(['"', '\'']),
            "scope": {"kubernetesExec": {"namespaces": odd}},
        },
    });
    // Not through kubectl, which reads YAML: there some of these are line ends.
    let keys: Api<ApiKey> = Api::namespaced(own.client(), &own.account);
    keys.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    let uid = own.key_with_reason("odd.name-0.1", "NamespaceNotOwned").await?.uid().context("a UID")?;
    let refused = line(&shared.keyplane, &uid, "K1003W").await?;
    for part in odd {
        ensure!(text(&refused, "/data/message").contains(part), "{part:?} is not in {refused}");
    }
    let options = KeyplaneOptions::all(&shared.installation);
    let written = std::fs::read_to_string(options.audit_log(shared.cluster.dir()))?;
    let lines: Vec<&str> = written.split('\n').filter(|line| line.contains(&uid)).collect();
    ensure!(lines.len() == about(&shared.keyplane.audit_events()?, &uid).len(), "{lines:?}");
    for line in lines {
        let is_plain = |character: char| {
            !character.is_control() && !['\u{2028}', '\u{2029}', '\u{202e}'].contains(&character)
        };
        ensure!(line.chars().all(is_plain), "{line:?}");
    }
    Ok(())
}

/// The field manager is a name that the client chose, whatever characters it has.
#[tokio::test]
async fn who_declared_changed_and_revoked_a_key_is_told_by_the_field_manager() -> Result<()> {
    let (shared, own) = tenant("actor").await?;
    let home = format!("--namespace={}", own.account);
    let (_, manifest) = own.generate("ci", &["--kubernetes-namespace", "web"]).await?;
    let (first, second) = ("a \"robot\" {ü} \\n 鍵", "somebody-else");
    let manager = |name: &str| format!("--field-manager={name}");
    let apply = ["apply", "--server-side", &manager(first), "--filename=-"];
    own.kubectl.capture(apply, &manifest).await?.success()?;
    own.wait_ready("apikey/ci").await?;
    let uid = own.stored_key("ci").await?.uid().context("a UID")?;
    for (code, by) in [("K1000I", first), ("K1001I", second), ("K1051I", second)] {
        let change = match code {
            "K1001I" => r#"{"spec":{"displayName":"another"}}"#,
            "K1051I" => r#"{"spec":{"revoked":true}}"#,
            _ => "{}",
        };
        let patch = ["patch", "apikey", "ci", &home, "--type=merge", &manager(by), "-p", change];
        own.kubectl.run(patch).await?;
        let told = line(&shared.keyplane, &uid, code).await?;
        ensure!(text(&told, "/data/actor/manager") == by, "{told}");
    }
    Ok(())
}
