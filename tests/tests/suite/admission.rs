//! What admission accepts and rejects, with the sentences that people read. One table for each kind; each row is one
//! request to a real API server.

mod accounts;
mod allowed_cidrs;
mod api_keys;
mod delivery;
mod kubectl_view;
mod namespaces;
mod ssh_keys;
mod times;
mod transitions;

use anyhow::{Context as _, Result};
use http::Method;
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::shared::shared_installation;
use kube::core::Status;
use serde_json::{Value, json};

use crate::request::{DRY_RUN, send};

/// Comes with every rejection by type, after which no rule is asked; it says nothing of its own.
const NOT_CHECKED: &str = "some validation rules were not checked";

/// What must be said to a request.
#[derive(Debug, Clone)]
enum Verdict {
    Accepted,
    /// Each field that is wrong (empty for the whole object) and the sentence about it, and nothing besides.
    Rejected(Vec<(&'static str, &'static str)>),
    /// The whole request is not understood.
    NotUnderstood(&'static str),
}

/// One field is wrong.
fn rejected(field: &'static str, sentence: &'static str) -> Verdict {
    Verdict::Rejected(vec![(field, sentence)])
}

/// The field is unknown.
fn unknown(sentence: &'static str) -> Verdict {
    Verdict::NotUnderstood(sentence)
}

impl Verdict {
    /// What is wrong with an answer; none when it is the one that must come.
    fn contradicted_by(&self, answer: &Result<Value, Box<Status>>) -> Option<String> {
        let (status, agrees) = match (self, answer) {
            (Self::Accepted, Ok(_)) => return None,
            (_, Ok(_)) => return Some(format!("accepted, expected {self:?}")),
            (Self::Accepted, Err(status)) => (status, false),
            (Self::Rejected(expected), Err(status)) => (status, says(status, expected)),
            (Self::NotUnderstood(sentence), Err(status)) => {
                (status, status.code == 400 && status.message.ends_with(sentence))
            }
        };
        (!agrees).then(|| format!("{}, expected {self:?}", status.message))
    }
}

fn says(status: &Status, expected: &[(&str, &str)]) -> bool {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    let causes: Vec<_> = causes.iter().filter(|cause| !cause.message.contains(NOT_CHECKED)).collect();
    let matches = |(field, sentence): &(&str, &str)| {
        causes.iter().any(|cause| {
            let place = if cause.field == "<nil>" { "" } else { &cause.field };
            let ends = cause.message == *sentence || cause.message.ends_with(&format!(": {sentence}"));
            place == *field && ends
        })
    };
    status.code == 422 && causes.len() == expected.len() && expected.iter().all(matches)
}

/// A request to create something, by what it shows.
struct Row(&'static str, Value, Verdict);

/// Asks the API server about each row and fails with all that disagree.
async fn assert_table(rows: Vec<Row>) -> Result<()> {
    let (cluster, _) = shared_installation().await?;
    let client = cluster.client().await?;
    let mut wrong = Vec::new();
    for Row(what, object, verdict) in rows {
        let path = path_of(&object);
        let answer = send(&client, Method::POST, &path, DRY_RUN, &object).await?;
        if let Some(why) = verdict.contradicted_by(&answer) {
            wrong.push(format!("{what}: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// An object of ours in the namespace `default` (dry runs store nothing there).
fn object(kind: &str, name: &str, spec: &Value) -> Value {
    object_in((kind != "Account").then_some("default"), kind, name, spec)
}

fn object_in(namespace: Option<&str>, kind: &str, name: &str, spec: &Value) -> Value {
    let metadata = json!({"namespace": namespace, "name": name});
    json!({"apiVersion": "keyplane.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn path_of(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let place = match text("/metadata/namespace") {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    format!("/apis/keyplane.dev/v1alpha1{place}/{}s", text("/kind").to_lowercase())
}

/// The digest of no key in particular.
fn digest() -> String {
    format!("sha256:{}", "0123456789abcdef".repeat(4))
}

/// A core Namespace for objects that are really stored.
async fn namespace_for(cluster: &ControlPlane, name: &str) -> Result<String> {
    let name = format!("{name}-{}", std::process::id());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    cluster.kubectl().apply(&namespace.to_string()).await.context("a namespace for the test")?;
    Ok(name)
}

/// A rule that no table mentions is a rule that nobody has tried.
#[test]
fn every_rule_of_the_resource_definitions_is_in_a_table() -> Result<()> {
    let tables = [
        include_str!("admission/accounts.rs"),
        include_str!("admission/allowed_cidrs.rs"),
        include_str!("admission/api_keys.rs"),
        include_str!("admission/delivery.rs"),
        include_str!("admission/namespaces.rs"),
        include_str!("admission/ssh_keys.rs"),
        include_str!("admission/times.rs"),
        include_str!("admission/transitions.rs"),
    ]
    .concat();
    let mut messages = Vec::new();
    for file in std::fs::read_dir(keyplane_tests::workspace::root().join("crds/generated"))? {
        let yaml = std::fs::read_to_string(file?.path())?;
        collect_messages(&serde_saphyr::from_str(&yaml)?, &mut messages);
    }
    assert!(!messages.is_empty(), "crds/generated holds no rule");
    messages.retain(|message| !tables.contains(message.as_str()));
    assert_eq!(messages, [""; 0], "rules in no table of tests/tests/suite/admission");
    Ok(())
}

fn collect_messages(schema: &Value, messages: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            let rules = map.get("x-kubernetes-validations").and_then(Value::as_array);
            for rule in rules.into_iter().flatten() {
                messages.extend(rule.get("message").and_then(Value::as_str).map(ToOwned::to_owned));
            }
            map.values().for_each(|value| collect_messages(value, messages));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_messages(item, messages)),
        _ => {}
    }
}
