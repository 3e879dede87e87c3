//! When a key ends: what can be written.

use anyhow::Result;
use serde_json::{Value, json};

use super::Verdict::Accepted;
use super::{Row, assert_table, digest, object, rejected};

const TIME: &str = "expiresAt must be a time with a zone, such as 2027-01-01T00:00:00Z";

fn ending(time: &Value) -> Value {
    let spec = json!({"scope": {"inference": true}, "digest": digest(), "expiresAt": time});
    object("ApiKey", "ci", &spec)
}

fn at(time: &str) -> Value {
    ending(&json!(time))
}

#[tokio::test]
async fn a_key_ends_at_a_moment() -> Result<()> {
    let bad = || rejected("spec.expiresAt", TIME);
    assert_table(vec![
        Row("a moment", at("2099-01-01T00:00:00Z"), Accepted),
        Row("in another zone", at("2099-01-01T00:00:00+02:00"), Accepted),
        Row("with a fraction", at("2099-01-01T00:00:00.123456789Z"), Accepted),
        // A condition, so that it can still be mended.
        Row("in the past", at("2020-01-01T00:00:00Z"), Accepted),
        Row("never", ending(&Value::Null), Accepted),
        Row("no time", at("tomorrow"), bad()),
        Row("nothing", at(""), bad()),
        Row("a day", at("2099-01-01"), bad()),
        Row("no zone", at("2099-01-01T00:00:00"), bad()),
        Row("a blank for the T", at("2099-01-01 00:00:00Z"), bad()),
        Row("a line end", at("2099-01-01T00:00:00Z\n"), bad()),
        Row("before computers had time", at("1969-12-31T23:59:59Z"), bad()),
        Row("no such month", at("2099-13-01T00:00:00Z"), bad()),
        Row("no such day", at("2099-02-30T00:00:00Z"), bad()),
        Row("no such hour", at("2099-01-01T25:00:00Z"), bad()),
    ])
    .await
}
