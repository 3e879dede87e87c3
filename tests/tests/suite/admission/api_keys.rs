//! API keys: what can be created.

use anyhow::Result;
use serde_json::{Value, json};

use super::Verdict::{Accepted, Rejected};
use super::{Row, assert_table, digest, object, rejected, unknown};

// The sentences of seed 003.
const NO_SCOPE: &str = "At least one explicit scope is required";
const MIXED: &str = "Explicit mixed scopes are not supported";
const ALL_AND_MORE: &str = "all cannot be combined with other scope fields";
const NO_NAMESPACE: &str = "At least one namespace ID is required unless all_namespaces is true";
const LONG_NAME: &str = "Key names are limited to 64 characters";

const ALL_AND_LIST: &str = "all_namespaces cannot be combined with a list of namespaces";
const DIGEST: &str = "digest must be sha256: and 64 lower-case hexadecimal digits: kubectl-keyplane generate makes a key and its digest";

const UUID: &str = "6f1c9f0e-8a4f-4c1e-9d5e-0a7b1c2d3e4f";

fn key(spec: &Value) -> Value {
    let mut whole = json!({"scope": {"inference": true}, "digest": digest()});
    if let (Value::Object(whole), Value::Object(spec)) = (&mut whole, spec) {
        whole.extend(spec.clone());
    }
    object("ApiKey", "ci", &whole)
}

fn scope(scope: &Value) -> Value {
    key(&json!({ "scope": scope }))
}

fn exec(exec: &Value) -> Value {
    scope(&json!({ "kubernetesExec": exec }))
}

fn with_digest(digest: &str) -> Value {
    key(&json!({ "digest": digest }))
}

#[tokio::test]
async fn a_key_has_exactly_one_scope() -> Result<()> {
    let exec = json!({"allNamespaces": true});
    assert_table(vec![
        Row("all", scope(&json!({"all": true})), Accepted),
        Row("inference", scope(&json!({"inference": true})), Accepted),
        Row("sshKeys", scope(&json!({"sshKeys": true})), Accepted),
        Row("kubernetesExec", scope(&json!({"kubernetesExec": exec})), Accepted),
        Row(
            "false is not a scope",
            scope(&json!({"all": false, "inference": true, "sshKeys": false})),
            Accepted,
        ),
        Row(
            "null is not a scope",
            scope(&json!({"all": null, "kubernetesExec": null, "inference": true})),
            Accepted,
        ),
        Row("{}", scope(&json!({})), rejected("spec.scope", NO_SCOPE)),
        Row(
            "only false",
            scope(&json!({"all": false, "inference": false})),
            rejected("spec.scope", NO_SCOPE),
        ),
        Row("only null", scope(&json!({"kubernetesExec": null})), rejected("spec.scope", NO_SCOPE)),
        Row(
            "inference and kubernetesExec",
            scope(&json!({"inference": true, "kubernetesExec": exec})),
            rejected("spec.scope", MIXED),
        ),
        Row(
            "inference and sshKeys",
            scope(&json!({"inference": true, "sshKeys": true})),
            rejected("spec.scope", MIXED),
        ),
        Row(
            "sshKeys and kubernetesExec",
            scope(&json!({"sshKeys": true, "kubernetesExec": exec})),
            rejected("spec.scope", MIXED),
        ),
        Row(
            "three",
            scope(&json!({"inference": true, "sshKeys": true, "kubernetesExec": exec})),
            rejected("spec.scope", MIXED),
        ),
        Row(
            "all and inference",
            scope(&json!({"all": true, "inference": true})),
            rejected("spec.scope", ALL_AND_MORE),
        ),
        Row(
            "all and sshKeys",
            scope(&json!({"all": true, "sshKeys": true})),
            rejected("spec.scope", ALL_AND_MORE),
        ),
        Row(
            "all and kubernetesExec",
            scope(&json!({"all": true, "kubernetesExec": exec})),
            rejected("spec.scope", ALL_AND_MORE),
        ),
        Row(
            "all and everything",
            scope(&json!({"all": true, "inference": true, "sshKeys": true, "kubernetesExec": exec})),
            rejected("spec.scope", ALL_AND_MORE),
        ),
        Row(
            "no scope at all",
            object("ApiKey", "ci", &json!({"digest": digest()})),
            rejected("spec.scope", "Required value"),
        ),
        Row("scope null", scope(&Value::Null), rejected("spec.scope", "Required value")),
        Row(
            "text for a switch",
            scope(&json!({"all": "yes"})),
            rejected("spec.scope.all", r#"spec.scope.all in body must be of type boolean: "string""#),
        ),
        Row(
            "a misspelt scope",
            scope(&json!({"inference": true, "kubernetes_exec": exec})),
            unknown(r#"unknown field "spec.scope.kubernetes_exec""#),
        ),
    ])
    .await
}

#[tokio::test]
async fn kubernetes_access_names_its_namespaces_or_takes_all() -> Result<()> {
    let place = "spec.scope.kubernetesExec";
    assert_table(vec![
        Row("ids", exec(&json!({"namespaceIds": [UUID]})), Accepted),
        Row("names", exec(&json!({"namespaces": ["web", "jobs"]})), Accepted),
        Row("ids and names", exec(&json!({"namespaceIds": [UUID], "namespaces": ["web"]})), Accepted),
        Row("all, with an empty list", exec(&json!({"allNamespaces": true, "namespaceIds": []})), Accepted),
        Row("role view", exec(&json!({"namespaces": ["web"], "role": "view"})), Accepted),
        Row("role edit", exec(&json!({"namespaces": ["web"], "role": "edit"})), Accepted),
        Row("role admin", exec(&json!({"namespaces": ["web"], "role": "admin"})), Accepted),
        Row("role null", exec(&json!({"namespaces": ["web"], "role": null})), Accepted),
        Row("nothing", exec(&json!({})), rejected(place, NO_NAMESPACE)),
        Row("an empty list of ids", exec(&json!({"namespaceIds": []})), rejected(place, NO_NAMESPACE)),
        Row("an empty list of names", exec(&json!({"namespaces": []})), rejected(place, NO_NAMESPACE)),
        Row("not all, and none", exec(&json!({"allNamespaces": false})), rejected(place, NO_NAMESPACE)),
        Row("all null, and none", exec(&json!({"allNamespaces": null})), rejected(place, NO_NAMESPACE)),
        Row(
            "all and ids",
            exec(&json!({"allNamespaces": true, "namespaceIds": [UUID]})),
            rejected(place, ALL_AND_LIST),
        ),
        Row(
            "all and names",
            exec(&json!({"allNamespaces": true, "namespaces": ["web"]})),
            rejected(place, ALL_AND_LIST),
        ),
        Row(
            "two rules at once",
            scope(&json!({"inference": true, "kubernetesExec": {}})),
            Rejected(vec![("spec.scope", MIXED), (place, NO_NAMESPACE)]),
        ),
    ])
    .await
}

#[tokio::test]
async fn a_list_of_namespaces_is_short_and_names_none_twice() -> Result<()> {
    let many = |count: usize| (0..count).map(|index| format!("n{index}")).collect::<Vec<_>>();
    assert_table(vec![
        Row("a hundred", exec(&json!({"namespaces": many(100)})), Accepted),
        Row(
            "an id twice",
            exec(&json!({"namespaceIds": [UUID, UUID]})),
            rejected("spec.scope.kubernetesExec.namespaceIds[1]", DUPLICATE_ID),
        ),
        Row(
            "a name twice",
            exec(&json!({"namespaces": ["web", "web"]})),
            rejected("spec.scope.kubernetesExec.namespaces[1]", r#""web""#),
        ),
        Row(
            "too many",
            exec(&json!({"namespaces": many(101)})),
            rejected("spec.scope.kubernetesExec.namespaces", "must have at most 100 items"),
        ),
        Row(
            "too long an id",
            exec(&json!({"namespaceIds": ["a".repeat(37)]})),
            rejected("spec.scope.kubernetesExec.namespaceIds[0]", "may not be more than 36 bytes"),
        ),
        Row(
            "too long a name",
            exec(&json!({"namespaces": ["a".repeat(64)]})),
            rejected("spec.scope.kubernetesExec.namespaces[0]", "may not be more than 63 bytes"),
        ),
        Row(
            "an unknown role",
            exec(&json!({"namespaces": ["web"], "role": "owner"})),
            rejected("spec.scope.kubernetesExec.role", r#"supported values: "view", "edit", "admin""#),
        ),
        Row(
            "a misspelt field",
            exec(&json!({"namespaces": ["web"], "namespaceIDs": []})),
            unknown(r#"unknown field "spec.scope.kubernetesExec.namespaceIDs""#),
        ),
    ])
    .await
}

const DUPLICATE_ID: &str = r#""6f1c9f0e-8a4f-4c1e-9d5e-0a7b1c2d3e4f""#;

#[tokio::test]
async fn a_keys_name_has_at_most_64_characters() -> Result<()> {
    let spec = json!({"scope": {"inference": true}, "digest": digest()});
    let named = |name: &str| object("ApiKey", name, &spec);
    let called = |name: String| key(&json!({ "displayName": name }));
    assert_table(vec![
        Row("64", named(&"a".repeat(64)), Accepted),
        Row("65", named(&"a".repeat(65)), rejected("", LONG_NAME)),
        Row("called by 64", called("a".repeat(64)), Accepted),
        Row("called by 64 characters of several bytes", called("ä".repeat(64)), Accepted),
        Row("called by 65", called("a".repeat(65)), rejected("spec.displayName", LONG_NAME)),
        Row("called null", key(&json!({"displayName": null})), Accepted),
        Row(
            "called by a number",
            key(&json!({"displayName": 7})),
            rejected("spec.displayName", r#"spec.displayName in body must be of type string: "integer""#),
        ),
    ])
    .await
}

#[tokio::test]
async fn a_digest_is_sha256_in_lower_case_hexadecimal() -> Result<()> {
    let hex = "0123456789abcdef".repeat(4);
    let bad = || rejected("spec.digest", DIGEST);
    assert_table(vec![
        Row("a digest", with_digest(&format!("sha256:{hex}")), Accepted),
        Row("upper case", with_digest(&format!("sha256:{}", hex.to_uppercase())), bad()),
        Row("63 digits", with_digest(&format!("sha256:{}", "a".repeat(63))), bad()),
        Row("65 digits", with_digest(&format!("sha256:{}", "a".repeat(65))), bad()),
        Row("no prefix", with_digest(&hex), bad()),
        Row("another hash", with_digest(&format!("sha512:{hex}")), bad()),
        Row("what sha256sum prints", with_digest(&format!("sha256:{hex}  -")), bad()),
        Row("a line end", with_digest(&format!("sha256:{hex}\n")), bad()),
        Row("nothing", with_digest(""), bad()),
        Row("the key itself", with_digest("kpk_not-a-key-but-it-looks-like-one"), bad()),
        Row("a hash without a name", with_digest(&format!(":{hex}")), bad()),
    ])
    .await
}

#[tokio::test]
async fn a_keys_other_fields_are_of_their_types() -> Result<()> {
    assert_table(vec![
        Row("revoked from the start", key(&json!({"revoked": true})), Accepted),
        Row("not revoked", key(&json!({"revoked": false})), Accepted),
        Row("revoked null", key(&json!({"revoked": null})), Accepted),
        Row("an unknown field", key(&json!({"key": "kpk_x"})), unknown(r#"unknown field "spec.key""#)),
    ])
    .await
}
