//! Accounts: what can be created.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::Verdict::{Accepted, Rejected};
use super::{Row, assert_table, object, rejected, unknown};

const RESERVED: &str = "default, kube, keyplane, kube-* and keyplane-* belong to the cluster itself: choose another account name";
const NAME: &str = "an account's name becomes the name of its home namespace: at most 50 lower-case letters, digits and '-', beginning and ending with a letter or digit";
const OWNER: &str = "namespace is required for a ServiceAccount and must be absent for a User or Group";
const QUANTITY: &str = "each value must be a quantity such as 4, 500m or 16Gi";

fn account(spec: &Value) -> Value {
    object("Account", "acme", spec)
}

fn named(name: &str) -> Value {
    object("Account", name, &json!({}))
}

fn owned(owner: &Value) -> Value {
    account(&json!({ "owners": [owner] }))
}

fn defaults(defaults: &Value) -> Value {
    account(&json!({ "namespaceDefaults": defaults }))
}

fn quota(hard: &Value) -> Value {
    defaults(&json!({"resourceQuota": {"hard": hard}}))
}

#[tokio::test]
async fn an_accounts_name_can_be_a_namespaces_and_is_not_the_clusters_own() -> Result<()> {
    assert_table(vec![
        Row("a name", named("acme"), Accepted),
        Row("50 characters", named(&"a".repeat(50)), Accepted),
        Row("digits and dashes", named("7-of-9"), Accepted),
        Row("a name that begins like a reserved one", named("kubernetes"), Accepted),
        Row("default", named("default"), rejected("", RESERVED)),
        Row("kube", named("kube"), rejected("", RESERVED)),
        Row("keyplane", named("keyplane"), rejected("", RESERVED)),
        Row("kube-system", named("kube-system"), rejected("", RESERVED)),
        Row("kube-anything", named("kube-anything"), rejected("", RESERVED)),
        Row("keyplane-system", named("keyplane-system"), rejected("", RESERVED)),
        Row("keyplane-identities", named("keyplane-identities"), rejected("", RESERVED)),
        Row("51 characters", named(&"a".repeat(51)), rejected("", NAME)),
        Row("a dot", named("acme.example"), rejected("", NAME)),
        Row("two rules at once", named("kube-a.b"), Rejected(vec![("", RESERVED), ("", NAME)])),
    ])
    .await
}

#[tokio::test]
async fn an_owner_is_a_user_a_group_or_a_service_account_in_its_namespace() -> Result<()> {
    let many = |count: usize| (0..count).map(|index| json!({"kind": "User", "name": index.to_string()}));
    let place = "spec.owners[0]";
    assert_table(vec![
        Row("a User", owned(&json!({"kind": "User", "name": "alice@acme.example"})), Accepted),
        Row("a Group", owned(&json!({"kind": "Group", "name": "acme:platform"})), Accepted),
        Row(
            "a ServiceAccount",
            owned(&json!({"kind": "ServiceAccount", "name": "ci", "namespace": "cd"})),
            Accepted,
        ),
        Row("namespace null", owned(&json!({"kind": "User", "name": "alice", "namespace": null})), Accepted),
        Row("nobody", account(&json!({"owners": []})), Accepted),
        Row("owners null", account(&json!({"owners": null})), Accepted),
        Row("64", account(&json!({"owners": many(64).collect::<Vec<_>>()})), Accepted),
        Row(
            "65",
            account(&json!({"owners": many(65).collect::<Vec<_>>()})),
            rejected("spec.owners", "must have at most 64 items"),
        ),
        Row(
            "a ServiceAccount of nowhere",
            owned(&json!({"kind": "ServiceAccount", "name": "ci"})),
            rejected(place, OWNER),
        ),
        Row(
            "a User somewhere",
            owned(&json!({"kind": "User", "name": "alice", "namespace": "cd"})),
            rejected(place, OWNER),
        ),
        Row(
            "a Group somewhere",
            owned(&json!({"kind": "Group", "name": "team", "namespace": "cd"})),
            rejected(place, OWNER),
        ),
        Row("no name", owned(&json!({"kind": "User"})), rejected("spec.owners[0].name", "Required value")),
        Row(
            "an empty name",
            owned(&json!({"kind": "User", "name": ""})),
            rejected("spec.owners[0].name", "spec.owners[0].name in body should be at least 1 chars long"),
        ),
        Row(
            "another kind",
            owned(&json!({"kind": "Team", "name": "a"})),
            rejected("spec.owners[0].kind", r#"supported values: "User", "Group", "ServiceAccount""#),
        ),
        Row(
            "an unknown field",
            owned(&json!({"kind": "User", "name": "a", "apiGroup": "b"})),
            unknown(r#"unknown field "spec.owners[0].apiGroup""#),
        ),
    ])
    .await
}

#[tokio::test]
async fn quantities_are_kubernetes_quantities() -> Result<()> {
    let entries = |count: usize| {
        Value::Object((0..count).map(|index| (format!("count/{index}"), json!(1))).collect::<Map<_, _>>())
    };
    let range = |field: &str, value: Value| defaults(&json!({"limitRange": {field: {"memory": value}}}));
    let hard = "spec.namespaceDefaults.resourceQuota.hard";
    let bad = || rejected("spec.namespaceDefaults.resourceQuota.hard", QUANTITY);
    assert_table(vec![
        Row("numbers and text", quota(&json!({"pods": 50, "requests.cpu": "8", "requests.memory": "16Gi", "limits.cpu": "500m"})), Accepted),
        Row("other spellings", quota(&json!({"a": "0.5", "b": "1e3", "c": "12E", "d": 0})), Accepted),
        Row("empty", quota(&json!({})), Accepted),
        Row("32 of them", quota(&entries(32)), Accepted),
        Row("a word", quota(&json!({"cpu": "much"})), bad()),
        Row("nothing", quota(&json!({"cpu": ""})), bad()),
        Row("a space", quota(&json!({"memory": "16 Gi"})), bad()),
        Row("another unit", quota(&json!({"memory": "16GB"})), bad()),
        Row("one of two", quota(&json!({"cpu": 1, "memory": "much"})), bad()),
        Row("a fraction as a number", quota(&json!({"cpu": 0.5})), rejected("spec.namespaceDefaults.resourceQuota.hard.cpu", r#"spec.namespaceDefaults.resourceQuota.hard.cpu in body must be of type integer,string: "number""#)),
        Row("33 of them", quota(&entries(33)), rejected(hard, "must have at most 32 items")),
        Row("a container's limit", range("default", json!("1Gi")), Accepted),
        Row("a container's request", range("defaultRequest", json!("100M")), Accepted),
        Row("a container's most", range("max", json!(1_000_000)), Accepted),
        Row("a bad limit", range("default", json!("1 Gi")), rejected("spec.namespaceDefaults.limitRange.default", QUANTITY)),
        Row("a bad request", range("defaultRequest", json!("x")), rejected("spec.namespaceDefaults.limitRange.defaultRequest", QUANTITY)),
        Row("a bad most", range("max", json!("x")), rejected("spec.namespaceDefaults.limitRange.max", QUANTITY)),
    ])
    .await
}

#[tokio::test]
async fn a_limit_is_a_number_up_to_ten_thousand() -> Result<()> {
    let limit = |field: &str, count: Value| account(&json!({"limits": {field: count}}));
    let all = json!({"activeApiKeys": 50, "namespaces": 10, "sshKeys": 25});
    let mut rows = vec![
        Row("all of them", account(&json!({ "limits": all })), Accepted),
        Row("none of them", account(&json!({"limits": {}})), Accepted),
    ];
    for (field, place, too_many, too_few, no_number) in [
        (
            "activeApiKeys",
            "spec.limits.activeApiKeys",
            "spec.limits.activeApiKeys in body should be less than or equal to 10000",
            "spec.limits.activeApiKeys in body should be greater than or equal to 0",
            r#"spec.limits.activeApiKeys in body must be of type integer: "string""#,
        ),
        (
            "namespaces",
            "spec.limits.namespaces",
            "spec.limits.namespaces in body should be less than or equal to 10000",
            "spec.limits.namespaces in body should be greater than or equal to 0",
            r#"spec.limits.namespaces in body must be of type integer: "string""#,
        ),
        (
            "sshKeys",
            "spec.limits.sshKeys",
            "spec.limits.sshKeys in body should be less than or equal to 10000",
            "spec.limits.sshKeys in body should be greater than or equal to 0",
            r#"spec.limits.sshKeys in body must be of type integer: "string""#,
        ),
    ] {
        rows.extend([
            Row("none at all", limit(field, json!(0)), Accepted),
            Row("many", limit(field, json!(10_000)), Accepted),
            Row("the default", limit(field, Value::Null), Accepted),
            Row("too many", limit(field, json!(10_001)), rejected(place, too_many)),
            Row("fewer than none", limit(field, json!(-1)), rejected(place, too_few)),
            Row("no number", limit(field, json!("unlimited")), rejected(place, no_number)),
        ]);
    }
    assert_table(rows).await
}

#[tokio::test]
async fn an_accounts_other_fields_are_of_their_types() -> Result<()> {
    assert_table(vec![
        Row("nothing", account(&json!({})), Accepted),
        Row("everything null", account(&json!({"limits": null, "namespaceDefaults": null})), Accepted),
        Row(
            "no spec",
            json!({"apiVersion": "keyplane.dev/v1alpha1", "kind": "Account", "metadata": {"name": "acme"}}),
            rejected("spec", "Required value"),
        ),
        Row("privileged", defaults(&json!({"podSecurity": "privileged"})), Accepted),
        Row("baseline", defaults(&json!({"podSecurity": "baseline"})), Accepted),
        Row("restricted", defaults(&json!({"podSecurity": "restricted"})), Accepted),
        Row(
            "another level",
            defaults(&json!({"podSecurity": "Baseline"})),
            rejected(
                "spec.namespaceDefaults.podSecurity",
                r#"supported values: "privileged", "baseline", "restricted""#,
            ),
        ),
        Row("isolated", defaults(&json!({"isolation": "Isolated"})), Accepted),
        Row("not isolated", defaults(&json!({"isolation": "None"})), Accepted),
        Row(
            "another isolation",
            defaults(&json!({"isolation": "Strict"})),
            rejected("spec.namespaceDefaults.isolation", r#"supported values: "Isolated", "None""#),
        ),
        Row(
            "an unknown field",
            account(&json!({"owner": "alice"})),
            unknown(r#"unknown field "spec.owner""#),
        ),
        Row(
            "an unknown limit",
            account(&json!({"limits": {"nodes": 1}})),
            unknown(r#"unknown field "spec.limits.nodes""#),
        ),
    ])
    .await
}
