//! Times in a key's spec: when it ends, when a lock is lifted, when another key is asked for.

use anyhow::Result;
use serde_json::{Value, json};

use super::Verdict::Accepted;
use super::{Row, assert_table, digest, object, rejected};

const EXPIRES: &str = "expiresAt must be a time with a zone, such as 2027-01-01T00:00:00Z";
const UNLOCKED: &str = "unlockedAt must be a time with a zone, such as 2027-01-01T00:00:00Z";
const REQUESTED: &str = "requestedAt must be a time with a zone, such as 2027-01-01T00:00:00Z";

/// Whatever the time is for, it names a moment, or it is refused where it stands.
async fn assert_moments(
    field: &'static str,
    sentence: &'static str,
    with: impl Fn(&Value) -> Value,
) -> Result<()> {
    let at = |time: &str| with(&json!(time));
    let bad = || rejected(field, sentence);
    assert_table(vec![
        Row("a moment", at("2099-01-01T00:00:00Z"), Accepted),
        Row("in another zone", at("2099-01-01T00:00:00+02:00"), Accepted),
        Row("with a fraction", at("2099-01-01T00:00:00.123456789Z"), Accepted),
        // Of an end a condition, so that it can still be mended.
        Row("in the past", at("2020-01-01T00:00:00Z"), Accepted),
        Row("never", with(&Value::Null), Accepted),
        Row("no time", at("tomorrow"), bad()),
        Row("nothing", at(""), bad()),
        Row("a day", at("2099-01-01"), bad()),
        Row("no zone", at("2099-01-01T00:00:00"), bad()),
        Row("a zone by name", at("2099-01-01T00:00:00 CET"), bad()),
        Row("a blank for the T", at("2099-01-01 00:00:00Z"), bad()),
        Row("a line end", at("2099-01-01T00:00:00Z\n"), bad()),
        Row("ten digits of a second", at("2099-01-01T00:00:00.1234567890Z"), bad()),
        Row("before computers had time", at("1969-12-31T23:59:59Z"), bad()),
        Row("no such month", at("2099-13-01T00:00:00Z"), bad()),
        Row("no such day", at("2099-02-30T00:00:00Z"), bad()),
        Row("no such hour", at("2099-01-01T25:00:00Z"), bad()),
    ])
    .await
}

#[tokio::test]
async fn a_key_ends_at_a_moment() -> Result<()> {
    assert_moments("spec.expiresAt", EXPIRES, |time| {
        let spec = json!({"scope": {"inference": true}, "digest": digest(), "expiresAt": time});
        object("ApiKey", "ci", &spec)
    })
    .await
}

#[tokio::test]
async fn a_lock_is_lifted_at_a_moment() -> Result<()> {
    assert_moments("spec.unlockedAt", UNLOCKED, |time| {
        let spec = json!({"scope": {"inference": true}, "digest": digest(), "unlockedAt": time});
        object("ApiKey", "ci", &spec)
    })
    .await
}

#[tokio::test]
async fn another_key_is_asked_for_at_a_moment() -> Result<()> {
    assert_moments("spec.rotation.requestedAt", REQUESTED, |time| {
        let delivery = json!({"secretName": "ci-key"});
        let rotation = json!({"requestedAt": time});
        let spec = json!({"scope": {"inference": true}, "delivery": delivery, "rotation": rotation});
        object("ApiKey", "ci", &spec)
    })
    .await
}
