//! A log that anybody tries to fill, and one that is full.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use chrono::Utc;
use futures::{StreamExt as _, TryStreamExt as _};
use keyplane_core::key_format::{KeyType, PlaintextKey};
use keyplane_tests::exchange::{Answer, post};
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use keyplane_tests::shared::{shared_installation, shared_keyplane};
use keyplane_tests::waiting::PATIENCE;
use keyplane_tests::workspace;
use kube::ResourceExt as _;
use serde_json::Value;
use tokio::process::Command;

use super::{about, code, ensure_documented, tenant, text};

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
            chunk.iter_mut().zip(uuid::Uuid::new_v4().into_bytes()).for_each(|(byte, random)| *byte = random);
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
