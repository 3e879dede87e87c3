//! Retries of one creation are one, and nothing else is.

use std::collections::BTreeSet;

use keyplane_core::api_key::{IdempotencyKey, KeyRequest, ScopePayload};
use proptest::prelude::*;
use serde_json::{Value, json};

fn digest(name: &str, scopes: &Value, end: Option<&str>, cidrs: &[&str]) -> String {
    let scopes: ScopePayload = serde_json::from_value(scopes.clone()).unwrap();
    let cidrs: Vec<String> = cidrs.iter().map(ToString::to_string).collect();
    KeyRequest::read(name, &scopes, end, &cidrs).unwrap().digest()
}

#[test]
fn a_key_is_1_to_255_visible_ascii_characters() {
    for good in ["a", "8e03978e-40d5-43e8-bc93-6894a57f9324", "!~", &"x".repeat(255)] {
        assert!(IdempotencyKey::parse(good.as_bytes()).is_ok(), "{good}");
    }
    for bad in ["", " ", "a b", "a\tb", "ключ", "a\u{7f}", &"x".repeat(256)] {
        assert!(IdempotencyKey::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    assert!(IdempotencyKey::parse(b"\xff").is_err());
}

#[test]
fn requests_for_the_same_have_one_digest_however_they_are_written() {
    let one = digest("ci", &json!({"inference": true}), Some("2027-01-01T00:00:00Z"), &["192.0.2.1"]);
    let same = digest(
        "ci",
        &json!({"inference": true, "all": false}),
        Some("2027-01-01T01:00:00+01:00"),
        &["192.0.2.1", "192.0.2.1"],
    );
    assert_eq!(one, same);
    let others = [
        digest("CI", &json!({"inference": true}), Some("2027-01-01T00:00:00Z"), &["192.0.2.1"]),
        digest("ci", &json!({"all": true}), Some("2027-01-01T00:00:00Z"), &["192.0.2.1"]),
        digest("ci", &json!({"inference": true}), None, &["192.0.2.1"]),
        digest("ci", &json!({"inference": true}), Some("2027-01-01T00:00:00Z"), &[]),
        digest("ci", &json!({"inference": true}), Some("2027-01-01T00:00:00Z"), &["192.0.2.2"]),
    ];
    assert!(!others.contains(&one));
    assert_eq!(BTreeSet::from(others).len(), 5);
}

proptest! {
    /// The name is the API server's to take, says nothing of the key, and belongs to one key of one account.
    #[test]
    fn the_name_is_one_keys_and_one_accounts(key in "[!-~]{1,255}", other in "[!-~]{1,255}", account in "[a-z]{1,50}") {
        let read = IdempotencyKey::parse(key.as_bytes()).unwrap();
        let name = read.object_name(&account);
        prop_assert!(name.len() == 36 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
        prop_assert_eq!(&name, &read.object_name(&account));
        prop_assert_ne!(&name, &read.object_name(&format!("{account}x")));
        let other = IdempotencyKey::parse(other.as_bytes()).unwrap();
        prop_assert_eq!(read == other, name == other.object_name(&account));
    }
}
