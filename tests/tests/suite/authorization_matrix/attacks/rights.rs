//! Rights in a home namespace for a few names, verbs or groups only.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use serde_json::{Value, json};

use super::Neighbours;
use crate::authorization_matrix::operations::{KEYS, NAMESPACES, PANEL};
use crate::authorization_matrix::outcome::told;
use crate::authorization_matrix::stage::person;

/// Who has which rule in the home namespace, and what they may not do over HTTP. `one` and `two` are keys, `none` is nobody's id.
const PEOPLE: [(&str, &str, &str); 6] = [
    (
        "named",
        "{apiGroups: [keyplane.dev], resources: [apikeys], resourceNames: [one], verbs: [get, patch, delete, list]}",
        "list make get:two get:none patch:two patch:none rotate:two revoke:two unlock:two delete:two delete:none namespaces ssh",
    ),
    (
        "creates",
        "{apiGroups: [keyplane.dev], resources: [apikeys], verbs: [create]}",
        "list get:one patch:one rotate:one delete:one namespaces ssh",
    ),
    (
        "statuses",
        "{apiGroups: [keyplane.dev], resources: [apikeys/status, apikeys/*], verbs: ['*']}",
        "list make get:one patch:one unlock:one revoke:one rotate:one delete:one",
    ),
    (
        "groups",
        "{apiGroups: ['', apps, example.dev], resources: [apikeys, namespaces, sshkeys], verbs: ['*']}",
        "list make get:one delete:one namespaces make-namespace ssh",
    ),
    (
        "updates",
        "{apiGroups: [keyplane.dev], resources: [apikeys], verbs: [get, update]}",
        "list make patch:one revoke:one rotate:one delete:one",
    ),
    (
        "namespaces",
        "{apiGroups: [keyplane.dev], resources: [namespaces], verbs: ['*']}",
        "list make get:one get:none delete:one ssh",
    ),
];

/// What they may: who, what, and the status.
const ALLOWED: [(&str, &str, u16); 6] = [
    ("named", "get:one", 200),
    ("updates", "get:one", 200),
    ("namespaces", "namespaces", 200),
    ("named", "patch:one", 200),
    ("creates", "make", 201),
    ("named", "delete:one", 204),
];

/// A request by its short name.
fn request(all: &Neighbours, words: &str) -> (Method, String, Value) {
    let (what, which) = words.split_once(':').unwrap_or((words, ""));
    let id = match which {
        "one" => all.one.clone(),
        "two" => all.two.clone(),
        _ => uuid::Uuid::new_v4().to_string(),
    };
    let one = format!("{KEYS}/{id}");
    match what {
        "make" => (Method::POST, KEYS.to_owned(), json!({"name": "new", "scopes": {"inference": true}})),
        "get" => (Method::GET, one, Value::Null),
        "patch" => (Method::PATCH, one, json!({"name": "renamed"})),
        "delete" => (Method::DELETE, one, Value::Null),
        "rotate" | "revoke" | "unlock" => (Method::POST, format!("{one}/{what}"), Value::Null),
        "namespaces" => (Method::GET, NAMESPACES.to_owned(), Value::Null),
        "make-namespace" => (Method::POST, NAMESPACES.to_owned(), json!({"name": "new"})),
        "ssh" => (Method::GET, PANEL.to_owned(), Value::Null),
        _ => (Method::GET, KEYS.to_owned(), Value::Null),
    }
}

/// Gives everybody their rule, and their tokens.
async fn given(all: &Neighbours) -> Result<BTreeMap<&'static str, String>> {
    let own = &all.own.account;
    let mut tokens = BTreeMap::new();
    let mut manifests = Vec::new();
    for (name, rule, _) in PEOPLE {
        let who = format!("{own}-{name}");
        tokens.insert(name, person(&all.own, &who).await?);
        manifests.push(format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {name}, namespace: {own}}}\nrules: [{rule}]\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {name}, namespace: {own}}}\nroleRef: \
             {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}\nsubjects: [{{kind: ServiceAccount, name: {who}, \
             namespace: default}}]\n"
        ));
    }
    all.own.kubectl.apply(&manifests.join("---\n")).await?;
    Ok(tokens)
}

#[tokio::test]
async fn rights_for_a_few_names_or_verbs_are_rights_for_these_and_no_others() -> Result<()> {
    let all = Neighbours::meet("few").await?;
    let tokens = given(&all).await?;
    let naming = [("x-keyplane-account", all.own.account.as_str())];
    let ask = async |who: &str, words: &str| {
        let (method, path, body) = request(&all, words);
        all.ask(tokens.get(who).context("a token")?, method, &path, &naming, &body).await
    };
    until("the rights to be there", PATIENCE, || async {
        let (first, last) = (ask("named", "get:one").await?, ask("namespaces", "namespaces").await?);
        Ok(match (first.status, last.status) {
            (200, 200) => Seen::Done(()),
            statuses => Seen::NotYet(format!("{statuses:?}")),
        })
    })
    .await?;
    let before = all.keys().await?;
    for (who, _, refused) in PEOPLE {
        for words in refused.split(' ') {
            all.ensure_nothing(&format!("{who}: {words}"), &ask(who, words).await?, &[403])?;
        }
    }
    all.ensure_unchanged(&before).await?;
    for (who, words, status) in ALLOWED {
        let answer = ask(who, words).await?;
        ensure!(answer.status == status, "{who}: {words}: {}", told(&answer));
    }
    Ok(())
}
