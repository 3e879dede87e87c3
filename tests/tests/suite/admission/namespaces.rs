//! Namespaces of ours: what can be created.

use anyhow::Result;
use serde_json::{Value, json};

use super::Verdict::Accepted;
use super::{Row, assert_table, object, rejected, unknown};

const NAME: &str = "a namespace's name becomes part of a core Namespace's name: lower-case letters, digits and '-', beginning and ending with a letter or digit";

#[tokio::test]
async fn a_namespace_needs_a_name_that_fits_and_nothing_more() -> Result<()> {
    let named = |name: &str| object("Namespace", name, &json!({}));
    let without_spec = json!({
        "apiVersion": "keyplane.dev/v1alpha1",
        "kind": "Namespace",
        "metadata": {"namespace": "default", "name": "web"},
    });
    assert_table(vec![
        Row("no spec", without_spec, Accepted),
        Row("an empty spec", named("web"), Accepted),
        Row("spec null", object("Namespace", "web", &Value::Null), Accepted),
        Row("digits and dashes", named("3-tier"), Accepted),
        Row("61 characters", named(&"a".repeat(61)), Accepted),
        Row("62 characters", named(&"a".repeat(62)), rejected("", NAME)),
        Row("a dot", named("web.1"), rejected("", NAME)),
        Row(
            "an unknown field",
            object("Namespace", "web", &json!({"quota": {}})),
            unknown(r#"unknown field "spec.quota""#),
        ),
    ])
    .await
}
