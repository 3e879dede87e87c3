//! A change replaces what it names, as a whole, and leaves everything else.

use keyplane_core::api_key::{KeyChange, KeyRequest, ScopePayload};
use keyplane_crds::{ApiKeySpec, Scope};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::moment;

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else { panic!("made one above") };
    for (name, value) in fields {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

fn scopes() -> impl Strategy<Value = ScopePayload> {
    let lists = || prop::collection::vec("[a-c]", 0..3);
    let role = prop::sample::select(vec![json!(null), json!("view"), json!("edit"), json!("admin")]);
    let exec = (lists(), lists(), role).prop_filter_map("names nothing", |(ids, names, role)| {
        let mut exec = json!({"role": role});
        if ids.is_empty() && names.is_empty() {
            return None;
        }
        exec["namespace_ids"] = json!(ids);
        exec["namespaces"] = json!(names);
        Some(json!({"kubernetes_exec": exec}))
    });
    let plain = prop::sample::select(vec![
        json!({"all": true}),
        json!({"inference": true}),
        json!({"ssh_keys": true, "inference": false}),
        json!({"kubernetes_exec": {"all_namespaces": true}}),
        json!({"kubernetes_exec": {"all_namespaces": true, "role": "view"}}),
    ]);
    prop_oneof![plain, exec].prop_map(|scopes| serde_json::from_value(scopes).unwrap())
}

fn ends() -> impl Strategy<Value = Option<String>> {
    prop::option::of((0..1000_i64).prop_map(|at| moment(at).to_rfc3339()))
}

fn cidrs() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec((0..5_u8).prop_map(|host| format!("192.0.2.{host}")), 0..4)
}

fn requests() -> impl Strategy<Value = KeyRequest> {
    ("[a-z]{1,8}", scopes(), ends(), cidrs()).prop_map(|(name, scopes, end, cidrs)| {
        KeyRequest::read(&name, &scopes, end.as_deref(), &cidrs).unwrap()
    })
}

fn spec(request: &KeyRequest) -> ApiKeySpec {
    ApiKeySpec {
        display_name: Some(request.name.clone()),
        scope: request.scope.clone(),
        expires_at: request.expires_at,
        allowed_cidrs: request.allowed_cidrs.clone(),
        digest: Some(format!("sha256:{}", "0".repeat(64))),
        ..ApiKeySpec::default()
    }
}

proptest! {
    #[test]
    fn what_is_named_is_replaced_and_the_rest_stays(
        before in requests(), after in requests(), named in prop::array::uniform4(any::<bool>()),
    ) {
        let scopes = ScopePayload::from(&after.scope);
        let end = after.expires_at.map(|end| end.to_rfc3339());
        let [name, scope, expires_at, allowed_cidrs] = named;
        let change = KeyChange::read(
            name.then_some(&*after.name),
            scope.then_some(&scopes),
            expires_at.then_some(end.as_deref()),
            allowed_cidrs.then_some(&*after.allowed_cidrs),
        );
        if named == [false; 4] {
            prop_assert!(change.is_err());
            return Ok(());
        }
        let mut stored = serde_json::to_value(spec(&before)).unwrap();
        merge(&mut stored, &change.unwrap().spec_patch());
        // An empty list is none: admission refuses it.
        prop_assert!(stored.get("allowedCidrs") != Some(&json!([])));
        let expected = ApiKeySpec {
            display_name: Some(if name { after.name } else { before.name.clone() }),
            scope: if scope { after.scope } else { before.scope.clone() },
            expires_at: if expires_at { after.expires_at } else { before.expires_at },
            allowed_cidrs: if allowed_cidrs { after.allowed_cidrs } else { before.allowed_cidrs.clone() },
            ..spec(&before)
        };
        prop_assert_eq!(&stored["scope"], &serde_json::to_value(&expected.scope).unwrap());
        prop_assert_eq!(serde_json::from_value::<ApiKeySpec>(stored).unwrap(), expected);
    }

    /// What an answer shows can be sent back.
    #[test]
    fn a_scope_that_is_shown_is_read_as_the_same(request in requests()) {
        let shown = serde_json::to_value(ScopePayload::from(&request.scope)).unwrap();
        let read: ScopePayload = serde_json::from_value(shown).unwrap();
        let again: Scope = KeyRequest::read("a", &read, None, &[]).unwrap().scope;
        prop_assert_eq!(again, request.scope);
    }
}
