//! Ids: another account's is told like one that nobody has, to the last byte, whoever asks; and what is no id at all too.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_tests::http_api::HttpAnswer;

use super::callers::Caller;
use super::operations::{Form, Ids, Operation, operations};
use super::outcome::{Outcome, absent, told};
use super::resources;
use super::stage::Stage;

/// Who asks about ids: everybody who comes as far as to name one.
const ASKING: [&str; 12] = [
    "owner",
    "owner, naming it",
    "administrator, naming it",
    "viewer, naming it",
    "another owner",
    "another owner, naming it",
    "key's token, naming it",
    "all",
    "sshKeys",
    "all, bearer",
    "sshKeys, bearer",
    "another account's",
];

/// The operations that name one of these.
fn about(ids: &Ids) -> Vec<Operation> {
    operations(ids).into_iter().filter(|operation| operation.names_one).collect()
}

/// The same id in each place.
fn everywhere(id: &str) -> Ids {
    Ids { key: id.to_owned(), namespace: id.to_owned(), ssh_key: id.to_owned(), new: "intruder".to_owned() }
}

/// Headers that tell nothing of what was asked for: of the moment, the request and the connection.
const OF_THE_REQUEST: [&str; 3] = ["date", "x-request-id", "connection"];

/// What an answer tells: everything but the id itself, the time and the name of the request.
fn tells(answer: &HttpAnswer, id: &str) -> Result<String> {
    let mut body = answer.json();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("timestamp");
    }
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !OF_THE_REQUEST.contains(&name.as_str()))
        .map(|(name, value)| Ok(format!("{name}: {}", value.to_str()?)))
        .collect::<Result<_>>()?;
    headers.sort();
    Ok(format!("{} {headers:?} {}", answer.status, body.to_string().replace(id, "…")))
}

async fn compared(stage: &Stage, caller: &Caller, foreign: &Ids) -> Result<usize> {
    let nobodys = everywhere(&uuid::Uuid::new_v4().to_string());
    let mut count = 0;
    for (theirs, none) in about(foreign).into_iter().zip(about(&nobodys)) {
        let id = [&foreign.key, &foreign.namespace, &foreign.ssh_key];
        let id = id.into_iter().find(|id| theirs.path.contains(*id)).context("an id")?;
        let (there, nowhere) = (theirs.ask(stage, caller).await?, none.ask(stage, caller).await?);
        let (there, nowhere) = (tells(&there, id)?, tells(&nowhere, &nobodys.key)?);
        ensure!(there == nowhere, "{}: {theirs}\n{there}\n{nowhere}", caller.name);
        count += 1;
    }
    Ok(count)
}

#[tokio::test]
async fn another_accounts_id_is_told_like_one_that_nobody_has_and_nothing_becomes_of_either() -> Result<()> {
    let stage = Stage::set("ids").await?;
    let cells = super::cells()?;
    let before = resources::of(&stage).await?;
    let mut count = 0;
    for name in ASKING {
        let caller = stage.callers.iter().find(|caller| caller.name == name).context("a caller")?;
        let row = cells.get(name).context("a row")?;
        // To each account the other's are foreign.
        let is_theirs = row.values().any(|outcome| *outcome == Outcome::Theirs);
        let foreign = if is_theirs { &stage.ids } else { &stage.their_ids };
        count += compared(&stage, caller, foreign).await?;

        // What is let in is told 404; anybody else what they are told of every id.
        let own = &stage.ids;
        let other_kinds = Ids {
            key: own.namespace.clone(),
            namespace: own.ssh_key.clone(),
            ssh_key: own.key.clone(),
            ..own.clone()
        };
        let long = "a".repeat(4096);
        let strange = [
            &*own.key.to_uppercase(),
            "victim",
            "web",
            "..",
            "%2e%2e",
            "%2E%2E%2Fvictim",
            "%00",
            "%ff",
            "%20",
            "%0d%0a",
            "*",
            "null",
            "%7Bkey_id%7D",
            &*long,
        ];
        let upper = Ids {
            key: own.key.to_uppercase(),
            namespace: own.namespace.to_uppercase(),
            ssh_key: own.ssh_key.to_uppercase(),
            ..own.clone()
        };
        let all = [other_kinds, upper].into_iter().chain(strange.map(everywhere));
        for ids in all {
            for operation in about(&ids) {
                let outcome = row.get(operation.column).context("a cell")?;
                let answer = operation.ask(&stage, caller).await?;
                let checked = match outcome {
                    Outcome::Ok | Outcome::Theirs => absent(&operation, &answer),
                    Outcome::Refused(..) => outcome.check(&stage, &operation, &answer),
                };
                checked.with_context(|| format!("{name}: {operation}"))?;
                count += 1;
            }
        }
        for operation in about(&everywhere("")) {
            // Nothing is at these paths but the panel's own sentence.
            let answer = operation.ask(&stage, caller).await?;
            let is_told = [400, 401, 403, 404, 405].contains(&answer.status);
            ensure!(
                is_told
                    && (answer.status != 400
                        || operation.form == Form::Panel
                        || answer.text.contains("no_account")),
                "{name}: {operation}: {}",
                told(&answer)
            );
            count += 1;
        }
    }
    println!("ids: {count} requests");
    let after = resources::of(&stage).await?;
    resources::ensure_same(&before, &after)
}

#[tokio::test]
async fn a_scope_that_names_another_accounts_namespace_is_told_like_one_that_names_none() -> Result<()> {
    let stage = Stage::set("ids-scope").await?;
    let owner = stage.callers.iter().find(|caller| caller.name == "owner").context("the owner")?;
    let headers: Vec<(&str, &str)> =
        owner.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let none = uuid::Uuid::new_v4().to_string();
    let key = format!("/v1/account/api-keys/{}", stage.ids.key);
    for (method, path) in [(Method::POST, "/v1/account/api-keys"), (Method::PATCH, &key)] {
        let mut told_of = Vec::new();
        for id in [&stage.their_ids.namespace, &none] {
            let scopes = serde_json::json!({"kubernetes_exec": {"namespace_ids": [id]}});
            let body = serde_json::json!({"name": "new", "scopes": scopes});
            let answer = stage.public.json(method.clone(), path, &headers, &body).await?;
            ensure!(
                answer.status == 400 && answer.at("/code").as_deref() == Some("namespace_not_owned"),
                "{}",
                told(&answer)
            );
            told_of.push(tells(&answer, id)?);
        }
        ensure!(told_of.first() == told_of.last(), "{told_of:#?}");
    }
    Ok(())
}
