//! Keyplane's audit log: each thing in a key's life has its line, before it is acknowledged, and nobody can flood it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use keyplane_core::key_format::{KeyType, PlaintextKey};
use keyplane_tests::exchange::{Answer, post};
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use keyplane_tests::shared::{SharedKeyplane, shared_installation, shared_keyplane};
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use keyplane_tests::workspace;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tokio::process::Command;

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
        let fields = cells.get(5).context("a column of fields")?.iter().cloned();
        codes.insert(cells[1][0].clone(), (cells[2][0].clone(), fields.chain(["code".to_owned()]).collect()));
    }
    ensure!(codes.len() > 15, "{codes:?}");
    Ok(codes)
}

/// Each line is an event of CloudEvents 1.0 as docs/audit-events.md describes it.
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
        for field in event["data"].as_object().context("an object")?.keys() {
            ensure!(known.1.contains(field), "{field} is not documented: {event}");
        }
    }
    Ok(())
}

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
    ensure!(text(&declared, "/data/actor/manager") == "gitops-robot", "{declared}");
    ensure!(line(keyplane, &uid, "K1010I").await?["data"]["version"] == json!(1));

    let first = own.delivered_key("ci").await?;
    ensure!(own.exchange(&first).await?.status == 200);
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
    ensure!(text(&changed, "/data/actor/manager") == "gitops-robot", "{changed}");
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
    // The lock has whole seconds on neither side: a moment later lifts it.
    let now = Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    change(json!({"allowedCidrs": ["203.0.113.0/24", "127.0.0.0/8"], "unlockedAt": now})).await?;
    own.key_with_reason("ci", "Active").await?;
    line(keyplane, &uid, "K1030I").await?;

    let now = Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    change(json!({"rotation": {"requestedAt": now}})).await?;
    ensure!(line(keyplane, &uid, "K1040I").await?["data"]["version"] == json!(2));
    ensure!(line(keyplane, &uid, "K1052I").await?["data"]["version"] == json!(1));
    let second = own.delivered_key("ci").await?;
    until("the old key to be refused and the new one to be accepted", PATIENCE, || async {
        let answers = (own.exchange(&first).await?.status, own.exchange(&second).await?.status);
        Ok(if answers == (401, 200) { Seen::Done(()) } else { Seen::NotYet(format!("{answers:?}")) })
    })
    .await?;
    ensure!(line(keyplane, &uid, "K1020I").await?["data"]["version"] == json!(2));

    change(json!({"revoked": true})).await?;
    let revoked = line(keyplane, &uid, "K1051I").await?;
    ensure!(text(&revoked, "/data/actor/manager") == "gitops-robot", "{revoked}");
    own.key_with_reason("ci", "Revoked").await?;
    ensure!(own.exchange(&second).await?.status == 401);
    let refused = line(keyplane, &uid, "K1020W").await?;
    ensure!(text(&refused, "/data/reason") == "Revoked", "{refused}");
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
        "K1040I", "K1052I", "K1001I", "K1051I", "K1052I", "K1002I",
    ];
    let mut rest = told.iter();
    for code in wanted {
        ensure!(rest.any(|told| *told == code), "{code} is not in its place: {told:?}");
    }
    let ids: BTreeSet<(&str, &str)> =
        lines.iter().map(|event| (text(event, "/source"), text(event, "/id"))).collect();
    ensure!(ids.len() == lines.len(), "an id stands for two lines");
    ensure_documented(&keyplane.audit_events()?)
}

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

/// An API process of a test's own, with its audit log in a file of its own.
async fn api(name: &str) -> Result<(Keyplane, PathBuf)> {
    let (cluster, installation) = shared_installation().await?;
    let name = format!("{name}-{}", std::process::id());
    let options = KeyplaneOptions::of(Mode::Api, &name, installation);
    let log = options.audit_log(cluster.dir());
    Ok((Keyplane::start(cluster.supervise(), cluster.dir(), &options).await?, log))
}

async fn ask(keyplane: &Keyplane, key: String) -> Result<Answer> {
    post(&keyplane.url(), keyplane.ca_file(), &[("x-api-key", key)], b"").await
}

/// A key that nobody declared.
fn unknown_key() -> Result<String> {
    let random = |bytes: &mut [u8]| -> Result<(), std::convert::Infallible> {
        for chunk in bytes.chunks_mut(16) {
            chunk.copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[..chunk.len()]);
        }
        Ok(())
    };
    Ok(PlaintextKey::generate(&KeyType::account(), random)?.expose().to_owned())
}

#[tokio::test]
async fn a_flood_of_bad_keys_makes_a_handful_of_lines_that_count_each_of_them() -> Result<()> {
    const KEYS: u64 = 500;
    shared_keyplane().await?;
    let (keyplane, _) = api("flooded").await?;
    let start = Utc::now();
    futures::stream::iter(0..KEYS)
        .map(|_| async {
            let answer = ask(&keyplane, unknown_key()?).await?;
            ensure!(answer.status == 401, "{answer:?}");
            Ok(())
        })
        .buffer_unordered(8)
        .try_collect::<Vec<()>>()
        .await?;
    let minutes = usize::try_from((Utc::now() - start).num_minutes())?;
    keyplane.stop();
    let events = keyplane.audit_events()?;
    ensure_documented(&events)?;
    let refusals: Vec<&Value> = events.iter().filter(|event| code(event) == "K1020W").collect();
    ensure!(refusals.iter().all(|event| text(event, "/data/reason") == "Unknown"), "{refusals:?}");
    ensure!(refusals.iter().all(|event| text(event, "/data/address") == "127.0.0.1"), "{refusals:?}");
    let count = |event: &&Value| event.pointer("/data/repeated/count").map_or(Some(1), Value::as_u64);
    let counted: u64 = refusals.iter().filter_map(count).sum();
    ensure!(counted == KEYS, "{counted} are counted: {refusals:?}");
    // The first, one a minute, and what was left at the end.
    ensure!(refusals.len() <= 2 + minutes, "{} lines: {refusals:?}", refusals.len());
    Ok(())
}

/// Puts something else where the audit log was.
fn replace_with_link(log: &Path, target: &Path) -> Result<()> {
    let link = log.with_extension("link");
    std::os::unix::fs::symlink(target, &link)?;
    Ok(std::fs::rename(link, log)?)
}

#[tokio::test]
async fn no_token_is_issued_that_cannot_be_written_down() -> Result<()> {
    let (_, own) = tenant("unwritten").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let uid = own.stored_key("ci").await?.uid().context("a UID")?;
    let (keyplane, log) = api("unwritten").await?;
    ensure!(ask(&keyplane, key.plaintext()?).await?.status == 200);
    let kept = log.with_extension("kept");
    std::fs::copy(&log, &kept)?;

    // The disk is full from now on.
    replace_with_link(&log, Path::new("/dev/full"))?;
    for _ in 0..3 {
        let answer = ask(&keyplane, key.plaintext()?).await?;
        ensure!(answer.status == 503 && answer.token().is_none(), "{answer:?}");
        ensure!(answer.at("/code").as_deref() == Some("audit_unavailable"), "{answer:?}");
        ensure!(answer.retry_after.is_some(), "{answer:?}");
        // A refusal gives nothing away and is answered all the same.
        ensure!(ask(&keyplane, unknown_key()?).await?.status == 401);
    }
    let said = keyplane.log();
    let why = |line: &&str| line.contains("audit log cannot be written") && line.contains("No space left");
    ensure!(said.lines().any(|line| why(&line) && line.contains("no token issued")), "{said}");

    // There is room again: nobody has to start anything anew, and what was refused meanwhile is told.
    replace_with_link(&log, &kept)?;
    let answer = ask(&keyplane, key.plaintext()?).await?;
    ensure!(answer.status == 200, "{answer:?}");
    keyplane.stop();
    let events = keyplane.audit_events()?;
    let issued = about(&events, &uid).iter().filter(|event| code(event) == "K1020I").count();
    ensure!(issued == 2, "{issued} tokens are told, and two were issued: {events:?}");
    let count = |event: &Value| event.pointer("/data/repeated/count").map_or(Some(1), Value::as_u64);
    let refusals = events.iter().filter(|event| text(event, "/data/reason") == "Unknown");
    let refused: u64 = refusals.filter_map(count).sum();
    ensure!(refused == 3, "{refused} refusals are counted: {events:?}");
    Ok(())
}

/// With a full disk at its start it does not serve at all: that is seen at once, where 503 is seen with the first key.
#[tokio::test]
async fn a_process_whose_audit_log_cannot_be_written_at_its_start_ends_and_says_why() -> Result<()> {
    let (_, installation) = shared_installation().await?;
    for log in ["/dev/full", "/nowhere/audit.log"] {
        let output = Command::new(workspace::binary("keyplane")?)
            .args(["api", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--context", "keyplane-api", "--audit-log", log, "--kubeconfig"])
            .arg(&installation.kubeconfig)
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, output).await.context("it serves nevertheless")??;
        ensure!(output.status.code() == Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(said.contains("audit log") && said.contains("os error"), "{said}");
        ensure!(said.lines().count() <= 4, "{said}");
    }
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
    let manager = "--field-manager=a \"robot\" {ü} \\n 鍵";
    own.kubectl
        .capture(["apply", "--server-side", manager, "--filename=-"], &object.to_string())
        .await?
        .success()?;
    let uid = own.key_with_reason("odd.name-0.1", "NamespaceNotOwned").await?.uid().context("a UID")?;
    let declared = line(&shared.keyplane, &uid, "K1000I").await?;
    ensure!(text(&declared, "/data/actor/manager") == "a \"robot\" {ü} \\n 鍵", "{declared}");
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
