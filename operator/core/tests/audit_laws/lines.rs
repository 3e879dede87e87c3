//! A line of the log is one JSON object with the fields it should have, whatever people wrote into the objects.

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_core::audit::{Actor, AuditEvent, Code, EventId, Source, Subject, TokenId};
use keyplane_core::client_address::{AddressSource, ClientAddress};
use keyplane_core::readiness::ResourceKind;
use proptest::prelude::*;
use serde_json::Value;

/// Texts as hostile as they come: quotes, braces, line ends of all kinds, and whole injected fields.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        proptest::collection::vec(
            prop_oneof![
                Just('\n'),
                Just('\r'),
                Just('\0'),
                Just('\u{7f}'),
                Just('\u{85}'),
                Just('\u{2028}'),
                Just('\u{2029}'),
                Just('\u{202e}'),
                Just('\u{feff}'),
                Just('"'),
                Just('\\'),
                Just('}'),
                Just('🔑'),
                any::<char>(),
            ],
            0..64
        )
        .prop_map(String::from_iter),
        Just("\",\"code\":\"K1020I\",\"x\":\"".to_owned()),
        Just("\n{\"specversion\":\"1.0\"}\n".to_owned()),
        "[a🔑]{1000,1100}",
    ]
}

fn event(code: Code, texts: &[String; 6]) -> AuditEvent {
    let [namespace, name, reason, message, manager, instance] = texts;
    let metadata = ObjectMeta {
        namespace: Some(namespace.clone()),
        name: Some(name.clone()),
        uid: Some("8d1f6a1e".to_owned()),
        ..ObjectMeta::default()
    };
    AuditEvent::new(code, Source::api(instance), EventId::random([7; 16]), DateTime::<Utc>::UNIX_EPOCH)
        .about(Some(Subject::new(ResourceKind::ApiKey, &metadata)))
        .because(Some(reason), Some(message))
        .by(Some(Actor { manager: Some(manager.clone()), ..Actor::default() }))
}

/// What is to be read back of a text.
fn written(text: &str) -> String {
    if text.chars().count() <= 1024 {
        return text.to_owned();
    }
    text.chars().take(1023).chain(['…']).collect()
}

proptest! {
    #[test]
    fn no_text_breaks_a_line_or_adds_a_field(
        texts in proptest::array::uniform6(texts()),
        code in proptest::sample::select(&Code::ALL[..]),
    ) {
        let line = event(code, &texts).line();
        let text = line.strip_suffix('\n').unwrap();
        prop_assert!(!text.chars().any(char::is_control), "{text:?}");
        prop_assert!(!text.contains(['\u{2028}', '\u{2029}', '\u{202e}', '\u{feff}']), "{text:?}");
        let value: Value = serde_json::from_str(text).unwrap();
        let [namespace, name, reason, message, manager, _] = &texts;
        let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        prop_assert_eq!(keys, ["data", "datacontenttype", "id", "source", "specversion", "subject", "time", "type"]);
        let data = &value["data"];
        let mut keys: Vec<_> = data.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        prop_assert_eq!(keys, ["account", "actor", "code", "id", "message", "name", "reason"]);
        prop_assert_eq!(&data["code"], code.as_str());
        prop_assert_eq!(&value["type"], code.event_type());
        prop_assert_eq!(&data["account"], namespace.as_str());
        prop_assert_eq!(&data["name"], name.as_str());
        prop_assert_eq!(&data["reason"], &written(reason));
        prop_assert_eq!(&data["message"], &written(message));
        prop_assert_eq!(&data["actor"]["manager"], &written(manager));
        let source = value["source"].as_str().unwrap().strip_prefix("keyplane/api/").unwrap();
        prop_assert!(source.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)));
    }

    #[test]
    fn no_text_is_taken_for_a_tokens_id_but_an_id(token in any::<String>(), jti in any::<String>()) {
        prop_assert_eq!(TokenId::of(&token), None);
        let id = TokenId::of(&jwt(&jti));
        let is_id = !jti.is_empty() && jti.len() <= 64 && jti.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        prop_assert_eq!(id.map(|id| id.to_string()), is_id.then_some(jti));
    }

    #[test]
    fn an_id_tells_changes_apart_and_only_them(
        first in (any::<String>(), proptest::sample::select(&Code::ALL[..]), any::<String>()),
        second in (any::<String>(), proptest::sample::select(&Code::ALL[..]), any::<String>()),
    ) {
        let id = |(uid, code, state): &(String, Code, String)| EventId::of_change(uid, *code, state);
        prop_assert_eq!(id(&first), id(&first));
        prop_assert_eq!(id(&first) == id(&second), first == second);
    }
}

/// A token with this `jti`.
fn jwt(jti: &str) -> String {
    use base64::Engine as _;
    let claims = serde_json::json!({"iss": "kubernetes", "jti": jti}).to_string();
    format!("e30.{}.c2ln", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims))
}

#[test]
fn an_exchange_is_written_in_the_form_of_cloud_events() {
    let client = ClientAddress::new("::ffff:203.0.113.7".parse().unwrap(), AddressSource::XForwardedFor);
    let time = DateTime::from_timestamp_millis(1_700_000_000_120).unwrap();
    let event = AuditEvent::new(Code::KeyExchanged, Source::api("pod-1"), EventId::random([0xab; 16]), time)
        .asked_from(Some(client))
        .with_token(TokenId::of(&jwt("2e1b0a4c-6f0e")))
        .with_version(Some(3));
    assert_eq!(
        event.line(),
        concat!(
            r#"{"specversion":"1.0","id":"abababababababababababababababab","source":"keyplane/api/pod-1","#,
            r#""type":"dev.keyplane.apikey.exchanged","time":"2023-11-14T22:13:20.120Z","#,
            r#""datacontenttype":"application/json","data":{"code":"K1020I","address":"203.0.113.7","#,
            r#""addressSource":"x-forwarded-for","tokenId":"2e1b0a4c-6f0e","version":3}}"#,
            "\n"
        )
    );
}
