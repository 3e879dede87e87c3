//! What is refused, with the sentence for it.

use chrono::TimeDelta;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use keyplane_core::api_key::{
    KeyChange, KeyRequest, KeyRequestError, ScopePayload, check_expiry, check_ownership, grace_period,
};
use keyplane_crds::{Namespace, NamespaceSpec};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::moment;

fn payload(scopes: &Value) -> ScopePayload {
    serde_json::from_value(scopes.clone()).unwrap()
}

fn asked(
    name: &str,
    scopes: &Value,
    expires_at: Option<&str>,
    cidrs: &[&str],
) -> Result<KeyRequest, KeyRequestError> {
    let cidrs: Vec<String> = cidrs.iter().map(ToString::to_string).collect();
    KeyRequest::read(name, &payload(scopes), expires_at, &cidrs)
}

#[test]
fn each_scope_that_the_seed_rejects_is_told_in_the_seeds_words() {
    let all = "all cannot be combined with other scope fields";
    let mixed = "Explicit mixed scopes are not supported";
    let nowhere = "At least one namespace ID is required unless all_namespaces is true";
    for (scopes, told) in [
        (json!({}), "At least one explicit scope is required"),
        (json!({"all": false}), "At least one explicit scope is required"),
        (json!({"inference": false, "ssh_keys": false}), "At least one explicit scope is required"),
        (json!({"inference": true, "kubernetes_exec": {"namespace_ids": ["a"]}}), mixed),
        (json!({"inference": true, "kubernetes_exec": {"all_namespaces": true}}), mixed),
        (json!({"inference": true, "ssh_keys": true}), mixed),
        (json!({"all": true, "inference": true}), all),
        (json!({"all": true, "ssh_keys": true}), all),
        (json!({"all": true, "kubernetes_exec": {"all_namespaces": true}}), all),
        (json!({"all": true, "inference": true, "ssh_keys": true}), all),
        (json!({"kubernetes_exec": {"namespace_ids": []}}), nowhere),
        (json!({"kubernetes_exec": {}}), nowhere),
        (json!({"kubernetes_exec": {"all_namespaces": false}}), nowhere),
        (json!({"kubernetes_exec": {"role": "view"}}), nowhere),
        (
            json!({"kubernetes_exec": {"all_namespaces": true, "namespace_ids": ["a"]}}),
            "all_namespaces cannot be combined with a list of namespaces",
        ),
    ] {
        assert_eq!(asked("a", &scopes, None, &[]).unwrap_err().to_string(), told, "{scopes}");
        let change = KeyChange::read(None, Some(&payload(&scopes)), None, None);
        assert_eq!(change.unwrap_err().to_string(), told, "{scopes}");
    }
    for accepted in [
        json!({"all": true}),
        json!({"inference": true}),
        json!({"ssh_keys": true}),
        json!({"kubernetes_exec": {"namespace_ids": ["a"]}}),
        json!({"kubernetes_exec": {"namespaces": ["web"], "namespace_ids": ["a"], "role": "view"}}),
        json!({"kubernetes_exec": {"all_namespaces": true, "role": "admin"}}),
        json!({"all": false, "inference": true}),
    ] {
        assert!(asked("a", &accepted, None, &[]).is_ok(), "{accepted}");
    }
}

#[test]
fn a_name_has_one_to_64_characters_and_says_something() {
    let inference = json!({"inference": true});
    for (name, told) in [
        (String::new(), Some(KeyRequestError::NameEmpty)),
        ("  ".to_owned(), Some(KeyRequestError::NameEmpty)),
        ("\t\u{2003}\n".to_owned(), Some(KeyRequestError::NameEmpty)),
        ("a".to_owned(), None),
        (" a ".to_owned(), None),
        ("x".repeat(64), None),
        ("ж".repeat(64), None),
        ("🔑".repeat(64), None),
        ("x".repeat(65), Some(KeyRequestError::NameTooLong)),
        ("ж".repeat(65), Some(KeyRequestError::NameTooLong)),
    ] {
        assert_eq!(asked(&name, &inference, None, &[]).err(), told, "{name}");
        assert_eq!(KeyChange::read(Some(&name), None, None, None).err(), told, "{name}");
    }
    assert_eq!(KeyRequestError::NameTooLong.to_string(), "Key names are limited to 64 characters");
    assert_eq!(KeyRequestError::ExpirationPast.to_string(), "Expiration must be in the future");
}

#[test]
fn an_expiry_is_a_moment_that_a_resource_can_hold() {
    let inference = json!({"inference": true});
    for (text, read) in [
        ("2027-01-01T00:00:00Z", Some("2027-01-01T00:00:00Z")),
        ("2027-01-01t00:00:00z", Some("2027-01-01T00:00:00Z")),
        ("2027-01-01T02:00:00+02:00", Some("2027-01-01T00:00:00Z")),
        ("2027-01-01T00:00:00.25Z", Some("2027-01-01T00:00:00.250Z")),
        // A leap second is none that the API server's rules know.
        ("2026-12-31T23:59:60Z", Some("2026-12-31T23:59:59.999999999Z")),
        ("9999-12-31T23:59:59Z", Some("9999-12-31T23:59:59Z")),
        ("9999-12-31T23:59:59-01:00", None),
        ("10000-01-01T00:00:00Z", None),
        ("2027-01-01T00:00:00", None),
        ("2027-01-01", None),
        ("2027-02-30T00:00:00Z", None),
        ("1830000000", None),
        ("tomorrow", None),
        ("", None),
    ] {
        let found = asked("a", &inference, Some(text), &[]);
        match read {
            Some(read) => {
                let stored = serde_json::to_value(found.unwrap().expires_at).unwrap();
                assert_eq!(stored, json!(read), "{text}");
            }
            None => assert_eq!(found.unwrap_err(), KeyRequestError::ExpirationUnreadable, "{text}"),
        }
    }
}

#[test]
fn an_expiry_lies_in_the_future() {
    let now = moment(0);
    for (end, holds) in [
        (None, true),
        (Some(now + TimeDelta::nanoseconds(1)), true),
        (Some(now), false),
        (Some(now - TimeDelta::seconds(1)), false),
    ] {
        assert_eq!(check_expiry(end, now).is_ok(), holds, "{end:?}");
    }
}

#[test]
fn an_address_that_is_none_is_named() {
    let inference = json!({"inference": true});
    for bad in
        ["office", "203.0.113.256", "203.0.113.0/33", "::ffff:203.0.113.7", "::ffff:203.0.113.0/120", ""]
    {
        let error = asked("a", &inference, None, &["192.0.2.1", bad]).unwrap_err();
        assert_eq!(error, KeyRequestError::AllowedCidr(bad.to_owned()));
        assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
    }
    let many: Vec<String> = (0..65).map(|host| format!("203.0.113.{host}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(asked("a", &inference, None, &many).unwrap_err(), KeyRequestError::TooManyCidrs);
    assert!(asked("a", &inference, None, &many[..64]).is_ok());
    // What is listed twice is listed.
    let twice = asked("a", &inference, None, &["192.0.2.1", "::1", "192.0.2.1"]).unwrap();
    assert_eq!(twice.allowed_cidrs, ["192.0.2.1", "::1"]);
}

fn namespace(name: &str, id: &str, is_going: bool) -> Namespace {
    let mut namespace = Namespace::new(name, NamespaceSpec {});
    namespace.metadata.namespace = Some("acme".to_owned());
    namespace.metadata.uid = Some(id.to_owned());
    let gone = k8s_openapi::jiff::Timestamp::from_second(1_800_000_000).unwrap();
    namespace.metadata.deletion_timestamp = is_going.then_some(Time(gone));
    namespace
}

#[test]
fn namespaces_that_are_not_the_accounts_are_named_and_nothing_tells_a_foreign_one_from_an_absent_one() {
    let owned = [namespace("web", "id-web", false), namespace("old", "id-old", true)];
    for (exec, not_owned) in [
        (json!({"namespace_ids": ["id-web"]}), vec![]),
        (json!({"namespaces": ["web"]}), vec![]),
        (json!({"all_namespaces": true}), vec![]),
        (json!({"namespace_ids": ["id-web", "foreign", "id-old"]}), vec!["foreign", "id-old"]),
        (json!({"namespace_ids": ["x"], "namespaces": ["old", "web", "y"]}), vec!["x", "old", "y"]),
        (json!({"namespace_ids": ["ID-WEB"]}), vec!["ID-WEB"]),
        (json!({"namespace_ids": [""]}), vec![""]),
    ] {
        let scope = asked("a", &json!({"kubernetes_exec": exec}), None, &[]).unwrap().scope;
        match check_ownership(&scope, &owned) {
            Ok(()) => assert!(not_owned.is_empty(), "{exec}"),
            Err(KeyRequestError::NamespaceNotOwned(named)) => assert_eq!(named, not_owned, "{exec}"),
            Err(error) => panic!("{exec}: {error}"),
        }
    }
    let scope = asked("a", &json!({"all": true}), None, &[]).unwrap().scope;
    assert!(check_ownership(&scope, &[]).is_ok());
}

#[test]
fn a_long_list_is_refused_and_a_sentence_stays_short() {
    let ids = |count: usize| json!((0..count).map(|at| format!("{at:0>80}")).collect::<Vec<_>>());
    let with = |count| asked("a", &json!({"kubernetes_exec": {"namespace_ids": ids(count)}}), None, &[]);
    assert_eq!(with(101).unwrap_err(), KeyRequestError::TooManyNamespaces);
    let error = check_ownership(&with(100).unwrap().scope, &[]).unwrap_err().to_string();
    assert!(error.ends_with("and 80 more") && error.len() < 2000, "{error}");
}

#[test]
fn a_change_changes_something_and_a_grace_period_is_no_longer_than_30_days() {
    assert_eq!(KeyChange::read(None, None, None, None).unwrap_err(), KeyRequestError::NothingGiven);
    for (seconds, read) in
        [(0, Some(0)), (2_592_000, Some(2_592_000)), (2_592_001, None), (-1, None), (i64::MAX, None)]
    {
        assert_eq!(grace_period(seconds).ok(), read);
    }
}

proptest! {
    /// No text ends anything, and what is accepted is written as the API server takes it.
    #[test]
    fn any_text_is_read_or_refused(name in ".{0,80}", expires_at in ".{0,40}", cidr in ".{0,60}") {
        if let Ok(read) = asked(&name, &json!({"inference": true}), Some(&expires_at), &[&cidr]) {
            prop_assert!((1..=64).contains(&read.name.chars().count()));
            prop_assert!(cidr.len() <= 49);
        }
    }
}
