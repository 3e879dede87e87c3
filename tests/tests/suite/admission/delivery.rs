//! Who makes a key, how it is handed over and how it is replaced: what can be created.

use anyhow::Result;
use serde_json::{Value, json};

use super::Verdict::{Accepted, Rejected};
use super::{Row, assert_table, digest, object, rejected, unknown};

pub const EXACTLY_ONE: &str = "exactly one of digest and delivery is required: digest for a key of your own (kubectl-keyplane generate makes one), delivery for a key that Keyplane makes";
const ONE_PLACE: &str = "exactly one of secretName and sealedTo is required";
const SECRET_NAME: &str = "secretName must be a Secret's name: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit";
const SSH_KEY_NAME: &str = "sshKey must be an SshKey's name: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit";
pub const REQUESTED_OF_ONES_OWN: &str =
    "rotation.requestedAt is for keys that Keyplane makes: change digest to rotate a key of your own";

const MOMENT: &str = "2099-01-01T00:00:00Z";

/// A key of scope inference with this besides.
fn key(rest: &Value) -> Value {
    let mut spec = json!({"scope": {"inference": true}});
    if let (Value::Object(spec), Value::Object(rest)) = (&mut spec, rest) {
        spec.extend(rest.clone());
    }
    object("ApiKey", "ci", &spec)
}

fn delivered(delivery: &Value) -> Value {
    key(&json!({ "delivery": delivery }))
}

fn to_secret(name: &str) -> Value {
    delivered(&json!({ "secretName": name }))
}

#[tokio::test]
async fn a_key_is_made_by_its_holder_or_by_keyplane() -> Result<()> {
    let delivery = json!({"secretName": "ci-key"});
    assert_table(vec![
        Row("a digest", key(&json!({"digest": digest()})), Accepted),
        Row("a digest, and delivery null", key(&json!({"digest": digest(), "delivery": null})), Accepted),
        Row("a delivery", key(&json!({"delivery": delivery})), Accepted),
        Row("a delivery, and digest null", key(&json!({"digest": null, "delivery": delivery})), Accepted),
        Row("neither", key(&json!({})), rejected("spec", EXACTLY_ONE)),
        Row(
            "neither but null",
            key(&json!({"digest": null, "delivery": null})),
            rejected("spec", EXACTLY_ONE),
        ),
        Row("both", key(&json!({"digest": digest(), "delivery": delivery})), rejected("spec", EXACTLY_ONE)),
        Row(
            "both, and one of them wrong",
            key(&json!({"digest": digest(), "delivery": {}})),
            Rejected(vec![("spec", EXACTLY_ONE), ("spec.delivery", ONE_PLACE)]),
        ),
    ])
    .await
}

#[tokio::test]
async fn a_key_is_delivered_to_a_secret_or_sealed_to_an_ssh_key() -> Result<()> {
    let sealed = |name: &str| delivered(&json!({"sealedTo": {"sshKey": name}}));
    let ssh_key = "spec.delivery.sealedTo.sshKey";
    assert_table(vec![
        Row("a Secret", to_secret("ci-key"), Accepted),
        Row("an SSH key", sealed("laptop"), Accepted),
        Row(
            "a Secret, and sealedTo null",
            delivered(&json!({"secretName": "a", "sealedTo": null})),
            Accepted,
        ),
        Row("nowhere", delivered(&json!({})), rejected("spec.delivery", ONE_PLACE)),
        Row(
            "nowhere but null",
            delivered(&json!({"secretName": null})),
            rejected("spec.delivery", ONE_PLACE),
        ),
        Row(
            "both",
            delivered(&json!({"secretName": "ci-key", "sealedTo": {"sshKey": "laptop"}})),
            rejected("spec.delivery", ONE_PLACE),
        ),
        Row("sealed to nobody", delivered(&json!({"sealedTo": {}})), rejected(ssh_key, "Required value")),
        Row("an SSH key with digits, dashes and dots", sealed("1-work.laptop-2"), Accepted),
        Row("a name of 253 characters", sealed(&"a".repeat(253)), Accepted),
        Row("sealed to no name", sealed(""), rejected(ssh_key, SSH_KEY_NAME)),
        Row("sealed to a flag", sealed("--kubeconfig=/tmp/other"), rejected(ssh_key, SSH_KEY_NAME)),
        Row("an SSH key of another namespace", sealed("elsewhere/laptop"), rejected(ssh_key, SSH_KEY_NAME)),
        Row("too long a name", sealed(&"a".repeat(254)), rejected(ssh_key, "may not be more than 253 bytes")),
        Row(
            "a Secret of another namespace",
            delivered(&json!({"secretName": "ci-key", "namespace": "elsewhere"})),
            unknown(r#"unknown field "spec.delivery.namespace""#),
        ),
    ])
    .await
}

#[tokio::test]
async fn the_secret_of_a_delivery_has_a_name_that_secrets_can_have() -> Result<()> {
    let bad = || rejected("spec.delivery.secretName", SECRET_NAME);
    assert_table(vec![
        Row("one letter", to_secret("a"), Accepted),
        Row("digits, dashes and dots", to_secret("1-ci.key-2"), Accepted),
        Row("253 characters", to_secret(&"a".repeat(253)), Accepted),
        Row(
            "254 characters",
            to_secret(&"a".repeat(254)),
            rejected("spec.delivery.secretName", "may not be more than 253 bytes"),
        ),
        Row("nothing", to_secret(""), bad()),
        Row("upper case", to_secret("CI"), bad()),
        Row("a dash at the end", to_secret("ci-"), bad()),
        Row("a dash at the start", to_secret("-ci"), bad()),
        Row("two dots", to_secret("ci..key"), bad()),
        Row("a dash before a dot", to_secret("ci-.key"), bad()),
        Row("a path", to_secret("elsewhere/ci"), bad()),
        Row("an underscore", to_secret("ci_key"), bad()),
        Row("a line end", to_secret("ci\n"), bad()),
    ])
    .await
}

#[tokio::test]
async fn a_replaced_key_goes_on_for_thirty_days_at_most() -> Result<()> {
    let grace =
        |seconds: Value| key(&json!({"digest": digest(), "rotation": {"gracePeriodSeconds": seconds}}));
    let field = "spec.rotation.gracePeriodSeconds";
    assert_table(vec![
        Row("not at all", grace(json!(0)), Accepted),
        Row("thirty days", grace(json!(2_592_000)), Accepted),
        Row("null", grace(Value::Null), Accepted),
        Row("an empty rotation", key(&json!({"digest": digest(), "rotation": {}})), Accepted),
        Row(
            "a second more",
            grace(json!(2_592_001)),
            rejected(
                field,
                "spec.rotation.gracePeriodSeconds in body should be less than or equal to 2592000",
            ),
        ),
        Row(
            "less than nothing",
            grace(json!(-1)),
            rejected(field, "spec.rotation.gracePeriodSeconds in body should be greater than or equal to 0"),
        ),
        Row(
            "a fraction",
            grace(json!(0.5)),
            Rejected(vec![
                (field, r#"spec.rotation.gracePeriodSeconds in body must be of type int64: "float64""#),
                ("", "Checked value must be of type integer with format int64 in spec.rotation.gracePeriodSeconds"),
            ]),
        ),
        Row(
            "text",
            grace(json!("1h")),
            rejected(field, r#"spec.rotation.gracePeriodSeconds in body must be of type integer: "string""#),
        ),
        Row(
            "an unknown field",
            key(&json!({"digest": digest(), "rotation": {"graceSeconds": 1}})),
            unknown(r#"unknown field "spec.rotation.graceSeconds""#),
        ),
    ])
    .await
}

#[tokio::test]
async fn another_key_is_asked_for_only_where_keyplane_makes_it() -> Result<()> {
    let rotation = json!({"requestedAt": MOMENT, "gracePeriodSeconds": 60});
    assert_table(vec![
        Row("delivered", key(&json!({"delivery": {"secretName": "a"}, "rotation": rotation})), Accepted),
        Row(
            "sealed",
            key(&json!({"delivery": {"sealedTo": {"sshKey": "a"}}, "rotation": rotation})),
            Accepted,
        ),
        Row(
            "of one's own",
            key(&json!({"digest": digest(), "rotation": rotation})),
            rejected("spec.rotation.requestedAt", REQUESTED_OF_ONES_OWN),
        ),
    ])
    .await
}
