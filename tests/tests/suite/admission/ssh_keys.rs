//! SSH keys: what can be created. Whether the text is a key is a condition, not a rejection.

use anyhow::Result;
use serde_json::{Value, json};

use super::Verdict::Accepted;
use super::{Row, assert_table, object, rejected, unknown};

const LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9+8CTlTVgSHVaLqBa3MpP4VqZ9H1NfW8nYhJbBq1sD laptop";

#[tokio::test]
async fn an_ssh_key_has_a_public_key_of_reasonable_length() -> Result<()> {
    let key = |text: &str| object("SshKey", "laptop", &json!({ "publicKey": text }));
    let asks = |default: Value| object("SshKey", "laptop", &json!({"publicKey": LINE, "default": default}));
    let named = |name: Value| object("SshKey", "laptop", &json!({"publicKey": LINE, "displayName": name}));
    assert_table(vec![
        Row("a key", key(LINE), Accepted),
        Row("no key, but text", key("not a key"), Accepted),
        Row("asks to be the default", asks(json!(true)), Accepted),
        Row("does not ask", asks(json!(false)), Accepted),
        Row("default null", asks(Value::Null), Accepted),
        Row("16 KiB", key(&"a".repeat(16384)), Accepted),
        Row("more", key(&"a".repeat(16385)), rejected("spec.publicKey", "may not be more than 16384 bytes")),
        Row(
            "empty",
            key(""),
            rejected("spec.publicKey", "spec.publicKey in body should be at least 1 chars long"),
        ),
        Row("none", object("SshKey", "laptop", &json!({})), rejected("spec.publicKey", "Required value")),
        Row("a display name", named(json!("Work Laptop ☕")), Accepted),
        Row("of 255 characters", named(json!("ü".repeat(255))), Accepted),
        Row("an empty one", named(json!("")), Accepted),
        Row(
            "of 256 characters",
            named(json!("ü".repeat(256))),
            rejected("spec.displayName", "SSH key names are limited to 255 characters"),
        ),
        Row(
            "of far more",
            named(json!("a".repeat(1025))),
            rejected("spec.displayName", "Too long: may not be more than 1024 bytes"),
        ),
        Row(
            "an unknown field",
            object("SshKey", "laptop", &json!({"publicKey": LINE, "comment": "x"})),
            unknown(r#"unknown field "spec.comment""#),
        ),
    ])
    .await
}
