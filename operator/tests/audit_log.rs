//! The audit log on real files: a line that is acknowledged is there, and one that cannot be written is not acknowledged.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use chrono::Utc;
use keyplane_core::audit::{AuditEvent, Code, EventId, RefusalReason, Source};
use keyplane_core::client_address::{AddressSource, ClientAddress};
use keyplane_operator::audit::{AuditError, AuditLog, Refusal, RefusalLog};
use serde_json::Value;

fn event(number: u8) -> AuditEvent {
    AuditEvent::new(Code::KeyExchanged, Source::controller(), EventId::random([number; 16]), Utc::now())
        .with_version(Some(number.into()))
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn versions(path: &Path) -> Vec<u64> {
    lines(path).iter().map(|line| line["data"]["version"].as_u64().unwrap()).collect()
}

fn refusal(reason: RefusalReason, last: u8) -> Refusal {
    let client = ClientAddress::new([192, 0, 2, last].into(), AddressSource::Connection);
    Refusal { reason, subject: None, client: Some(client), message: None, version: None, actor: None }
}

#[tokio::test]
async fn an_acknowledged_line_is_in_a_file_that_only_its_owner_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let log = AuditLog::open(&path).unwrap();
    for number in 1..=3 {
        log.write(&event(number)).await.unwrap();
        assert_eq!(versions(&path), (1..=u64::from(number)).collect::<Vec<_>>());
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn what_was_there_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    AuditLog::open(&path).unwrap().write(&event(1)).await.unwrap();
    AuditLog::open(&path).unwrap().write(&event(2)).await.unwrap();
    assert_eq!(versions(&path), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_many_writers_are_whole_and_none_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let log = AuditLog::open(&path).unwrap();
    let writers: Vec<_> = (0..200)
        .map(|number| {
            let log = log.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    log.write(&event(number)).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let versions = versions(&path);
    assert_eq!(versions.len(), 4000);
    assert_eq!(versions.into_iter().collect::<BTreeSet<_>>().len(), 200);
}

#[tokio::test]
async fn a_file_that_is_moved_away_is_followed_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("audit.log"), dir.path().join("audit.log.1"));
    let log = AuditLog::open(&path).unwrap();
    log.write(&event(1)).await.unwrap();
    fs::rename(&path, &moved).unwrap();
    log.write(&event(2)).await.unwrap();
    // As logrotate's `create` does it: the new file is there before the next line.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    log.write(&event(3)).await.unwrap();
    // As `copytruncate` does it.
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    log.write(&event(4)).await.unwrap();
    assert_eq!((versions(&moved), versions(&path)), (vec![1], vec![4]));
}

#[tokio::test]
async fn a_full_disk_is_an_error_of_the_event() {
    let log = AuditLog::open(Path::new("/dev/full")).unwrap();
    for number in 0..3 {
        let Err(AuditError::Unwritten(error)) = log.write(&event(number)).await else { panic!("written") };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}

#[tokio::test]
async fn a_directory_that_vanished_is_an_error_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("log");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("audit.log");
    let log = AuditLog::open(&path).unwrap();
    fs::remove_dir_all(&inner).unwrap();
    assert!(matches!(log.write(&event(1)).await, Err(AuditError::Unwritten(_))));
    fs::create_dir(&inner).unwrap();
    log.write(&event(2)).await.unwrap();
    assert_eq!(versions(&path), [2]);
}

#[test]
fn a_log_that_cannot_be_opened_is_named() {
    let error = AuditLog::open(Path::new("/nowhere/audit.log")).unwrap_err();
    assert!(format!("{error:#}").contains("/nowhere/audit.log"), "{error:#}");
}

#[tokio::test]
async fn refusals_that_are_alike_are_one_line_and_a_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let refusals = RefusalLog::start(AuditLog::open(&path).unwrap(), Source::api("pod-1"));
    for _ in 0..50 {
        refusals.refused(refusal(RefusalReason::Unknown, 1)).await.unwrap();
    }
    refusals.refused(refusal(RefusalReason::Unknown, 2)).await.unwrap();
    refusals.refused(refusal(RefusalReason::Malformed, 1)).await.unwrap();
    assert_eq!(lines(&path).len(), 3, "the first of each at once");
    refusals.flush().await.unwrap();
    let lines = lines(&path);
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[3]["source"], "keyplane/api/pod-1");
    let data = &lines[3]["data"];
    assert_eq!((&data["code"], &data["reason"]), (&"K1020W".into(), &"Unknown".into()));
    assert_eq!((&data["address"], &data["repeated"]["count"]), (&"192.0.2.1".into(), &49.into()));
    let ids: BTreeSet<_> = lines.iter().map(|line| line["id"].to_string()).collect();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn a_refusal_that_could_not_be_written_is_told_later() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("log");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("audit.log");
    let refusals = RefusalLog::start(AuditLog::open(&path).unwrap(), Source::api("pod-1"));
    fs::remove_dir_all(&inner).unwrap();
    refusals.refused(refusal(RefusalReason::Unknown, 1)).await.unwrap_err();
    refusals.refused(refusal(RefusalReason::Unknown, 1)).await.unwrap();
    refusals.flush().await.unwrap_err();
    fs::create_dir(&inner).unwrap();
    refusals.flush().await.unwrap();
    let lines = lines(&path);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["data"]["repeated"]["count"], 2);
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_take_its_refusal_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let refusals = RefusalLog::start(AuditLog::open(&path).unwrap(), Source::api("pod-1"));
    {
        let mut asking = Box::pin(refusals.refused(refusal(RefusalReason::Unknown, 1)));
        // Polled once, then dropped, as a server does when the connection ends.
        let first = std::future::poll_fn(|context| std::task::Poll::Ready(asking.as_mut().poll(context)));
        assert!(first.await.is_pending());
    }
    refusals.refused(refusal(RefusalReason::Malformed, 1)).await.unwrap();
    refusals.flush().await.unwrap();
    let reasons: Vec<_> = lines(&path).iter().map(|line| line["data"]["reason"].to_string()).collect();
    assert_eq!(reasons, [r#""Unknown""#, r#""Malformed""#]);
}
