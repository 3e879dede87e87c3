//! What holds of the exchange's answers, whatever a server says: `STATUS`, then headers, an empty line and the body.

use chrono::{DateTime, TimeDelta, Utc};
use keyplane_credential_plugin::exchange::answer::{Answer, Verdict, judge};
use keyplane_credential_plugin::exchange::retry_rule::Setback;
use keyplane_credential_plugin::failure::{Failure, FailureKind};

use crate::told::check_line;

/// Holds bytes against the laws. Gives whether they are an answer with a token.
///
/// # Panics
/// At a breach.
pub fn check(bytes: &[u8]) -> bool {
    let (head, body) = match bytes.windows(2).position(|end| end == b"\n\n") {
        Some(at) => (&bytes[..at], Some(&bytes[at + 2..])),
        None => (bytes, None),
    };
    let head = String::from_utf8_lossy(head);
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let answer = Answer {
        status: head.lines().next().and_then(|status| status.parse().ok()).unwrap_or_default(),
        content_type: header("content-type"),
        date: header("date"),
        retry_after: header("retry-after"),
        location: header("location"),
        body,
    };
    let asked_at: DateTime<Utc> = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
    match judge(&answer, asked_at, "https://exchange.example") {
        Verdict::Given((token, life)) => {
            assert!(answer.status == 200 || answer.status == 201);
            let text = serde_json::to_value(&token).expect("a text");
            let text = text.as_str().expect("a text");
            assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(format!("{token:?}"), "[redacted]");
            // What is not looked at may be what serde_json would not read: other letters, depths or numbers.
            if let Ok(whole) = serde_json::from_slice::<serde_json::Value>(body.expect("a body")) {
                assert_eq!(whole["kind"], "ExecCredential");
                assert_eq!(whole["status"]["token"], text);
            }
            assert!(life.expires_at() >= asked_at && life.expires_at() - asked_at <= TimeDelta::days(1));
            true
        }
        Verdict::Later(setback, failure) => {
            assert_eq!((answer.status, failure.kind()), (503, FailureKind::Busy));
            assert!(matches!(setback, Setback::NotReady(_)));
            check_failure(&failure, &answer);
            false
        }
        Verdict::Final(failure) => {
            let kinds: &[FailureKind] = match answer.status {
                401 => &[FailureKind::Refused, FailureKind::Expired, FailureKind::Server],
                403 => &[FailureKind::Forbidden, FailureKind::Locked, FailureKind::Server],
                429 => &[FailureKind::Busy],
                503 => &[],
                _ => &[FailureKind::Server],
            };
            assert!(kinds.contains(&failure.kind()), "{}: {failure:?}", answer.status);
            check_failure(&failure, &answer);
            false
        }
    }
}

/// Only what the server wrote for people to read is repeated: its sentence, and where it redirects to.
fn check_failure(failure: &Failure, answer: &Answer<'_>) {
    check_line(failure);
    let value = answer.body.and_then(|body| serde_json::from_slice::<serde_json::Value>(body).ok());
    let Some(value) = value else { return };
    let Some(token) = value["status"]["token"].as_str().filter(|token| token.len() >= 16) else { return };
    let read_by_people = [value["detail"].as_str(), answer.location];
    if !read_by_people.iter().flatten().any(|text| text.contains(token)) {
        assert!(!failure.to_string().contains(token));
    }
}
