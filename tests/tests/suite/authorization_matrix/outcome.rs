//! What a cell of the matrix means, and whether an answer is that.

use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use keyplane_tests::http_api::HttpAnswer;
use serde_json::Value;

use super::operations::{Form, Operation};
use super::stage::Stage;

/// What comes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is done in this account.
    Ok,
    /// It is done in the caller's own.
    Theirs,
    /// It is refused, with this status, code, and these words.
    Refused(u16, &'static str, &'static str),
}

impl FromStr for Outcome {
    type Err = anyhow::Error;

    fn from_str(cell: &str) -> Result<Self> {
        Ok(match cell {
            "ok" => Self::Ok,
            "theirs" => Self::Theirs,
            "miss" => Self::Refused(401, "missing_access_token", "Missing access token"),
            "token" => Self::Refused(401, "invalid_access_token", "does not accept this access token"),
            "key" => Self::Refused(401, "invalid_api_key", "Missing, invalid, revoked, or expired API key"),
            "over" => Self::Refused(401, "api_key_expired", "Missing, invalid, revoked, or expired API key"),
            "ended" => Self::Refused(401, "api_key_revoked", "Missing, invalid, revoked, or expired API key"),
            "which" => Self::Refused(400, "no_account", "You own no account"),
            "rbac" => Self::Refused(403, "forbidden", "You may not do this in the account"),
            "scope" => Self::Refused(403, "insufficient_scope", "scope does not include"),
            "kube" => Self::Refused(403, "scope_without_kubernetes", "scope does not include Kubernetes"),
            "addr" => Self::Refused(403, "address_not_allowed", "may not be used from this address"),
            "lock" => Self::Refused(403, "key_locked", "is locked after uses"),
            "ready" => Self::Refused(403, "key_not_ready", "is not ready (NamespaceNotOwned)"),
            other => bail!("no cell: {other}"),
        })
    }
}

impl Outcome {
    pub(super) fn lets_in(self) -> bool {
        matches!(self, Self::Ok | Self::Theirs)
    }

    /// Whether an answer is this.
    pub(super) fn check(self, stage: &Stage, operation: &Operation, answer: &HttpAnswer) -> Result<()> {
        match self {
            Self::Refused(status, code, says) => {
                for id in [&stage.ids.key, &stage.ids.namespace, &stage.ids.ssh_key] {
                    ensure!(operation.names_one || !answer.text.contains(id), "an id in {}", told(answer));
                }
                refused(operation, answer, status, code, says)
            }
            Self::Ok => {
                ensure!(operation.effect.is_none(), "a change is looked at where it is made");
                let own = [&stage.ids, &stage.their_ids];
                let [own, other] = own.map(|ids| [&ids.key, &ids.namespace, &ids.ssh_key]);
                ensure!(!other.iter().any(|id| answer.text.contains(*id)), "{}", told(answer));
                done(stage, operation, answer, true, own)
            }
            Self::Theirs if operation.names_one => absent(operation, answer),
            Self::Theirs => {
                let own = [&stage.ids, &stage.their_ids];
                let [own, other] = own.map(|ids| [&ids.key, &ids.namespace, &ids.ssh_key]);
                ensure!(!own.iter().any(|id| answer.text.contains(*id)), "{}", told(answer));
                done(stage, operation, answer, false, other)
            }
        }
    }
}

/// Whether it was done in this account, or in the other.
fn done(
    stage: &Stage,
    operation: &Operation,
    answer: &HttpAnswer,
    here: bool,
    ids: [&String; 3],
) -> Result<()> {
    let status = if operation.effect.is_some() { 201 } else { 200 };
    ensure!(answer.status == status, "{status} expected: {}", told(answer));
    if operation.effect.is_some() {
        return Ok(());
    }
    let account = if here { &stage.own.account } else { &stage.other.account };
    let not = if here { &stage.other.account } else { &stage.own.account };
    match operation.column {
        "config" => {
            ensure!(answer.text.contains(&format!("{account}-web")), "{}", told(answer));
            ensure!(!answer.text.contains(not.as_str()), "{}", told(answer));
        }
        "who" => {
            ensure!(answer.at("/account").as_ref() == Some(account), "{}", told(answer));
            let uids = if here { &stage.own_keys } else { &stage.their_keys };
            ensure!(answer.at("/id").is_some_and(|id| uids.contains(&id)), "{}", told(answer));
            ensure!(!answer.text.contains(not.as_str()), "{}", told(answer));
        }
        "models" => ensure!(answer.text == *account, "{}", told(answer)),
        "swap" => {
            let token = answer.at("/status/token").context("a token")?;
            keyplane_tests::plaintext_registry::token(&token)?;
            let payload = token.split('.').nth(1).context("a JWT")?;
            let payload: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload)?)?;
            let subject = payload.pointer("/sub").and_then(Value::as_str).context("a subject")?;
            let uids = if here { &stage.own_keys } else { &stage.their_keys };
            let key = subject.rsplit_once(":key-").context("a key")?.1;
            ensure!(uids.iter().any(|uid| uid == key), "{subject}");
        }
        _ if operation.form == Form::Verify => {
            ensure!(answer.header("x-keyplane-account") == Some(account), "{}", told(answer));
            ensure!(answer.text.is_empty(), "{}", told(answer));
        }
        _ => {
            let [key, namespace, ssh_key] = ids;
            let id = match operation.form {
                Form::Panel | Form::GpuCloud => ssh_key,
                _ if operation.path.contains("api-keys") => key,
                _ => namespace,
            };
            ensure!(answer.text.contains(id), "{}", told(answer));
        }
    }
    Ok(())
}

/// Whether an answer is this refusal, in the form of its surface.
pub(super) fn refused(
    operation: &Operation,
    answer: &HttpAnswer,
    status: u16,
    code: &str,
    says: &str,
) -> Result<()> {
    // Seed 004's own words.
    let is_gpus = operation.form == Form::GpuCloud && code == "invalid_api_key";
    let (status, says) = if is_gpus { (403, "API key invalid") } else { (status, says) };
    ensure!(answer.status == status, "{status} {code} expected: {}", told(answer));
    ensure!(answer.header("cache-control") == Some("no-store"), "{:?}", answer.headers);
    let kind = answer.header("content-type").unwrap_or_default();
    match operation.form {
        Form::Problem => {
            let is_it = answer.at("/code").as_deref() == Some(code) && kind == "application/problem+json";
            ensure!(is_it, "{code} expected: {}", told(answer));
            ensure!(answer.at("/detail").is_some_and(|detail| detail.contains(says)), "{}", told(answer));
        }
        Form::Verify => {
            ensure!(answer.text.is_empty(), "{}", told(answer));
            let told_of = answer.headers.keys().any(|name| name.as_str().starts_with("x-keyplane-"));
            ensure!(!told_of, "{:?}", answer.headers);
        }
        Form::Panel | Form::GpuCloud => {
            let message = answer.at("/message").unwrap_or_default();
            ensure!(
                message.contains(says) && kind == "application/json",
                "{says} expected: {}",
                told(answer)
            );
        }
    }
    Ok(())
}

/// Whether an answer says that there is no such thing, in the words of its surface.
pub(super) fn absent(operation: &Operation, answer: &HttpAnswer) -> Result<()> {
    let (code, says) = match operation.form {
        Form::Panel => ("", "SSH key not found or does not belong to the authenticated user."),
        Form::GpuCloud => ("", "Not found"),
        _ if operation.path.contains("api-keys") => ("api_key_not_found", "API key not found"),
        _ => ("namespace_not_found", "Namespace not found"),
    };
    refused(operation, answer, 404, code, says)
}

/// An answer for a message: without the key or token that may be in it.
pub(super) fn told(answer: &HttpAnswer) -> String {
    let mut body = answer.json();
    for pointer in ["/key", "/status/token"] {
        if let Some(secret) = body.pointer_mut(pointer) {
            *secret = Value::from("…");
        }
    }
    let text = if body.is_null() { answer.text.clone() } else { body.to_string() };
    format!("{} {text}", answer.status)
}
