//! `generate --apply`: kubectl makes the object, and Keyplane's verdict about it is awaited.

use std::io::{self, Write};
use std::time::Duration;

use keyplane_core::key_format::PlaintextKey;

use super::{GenerateArgs, Manifest};
use crate::failure::{Failure, FailureKind};
use crate::kubectl::FailedChange;
use crate::new_key::Handover;
use crate::output::line;
use crate::resources::api_key::{ApiKey, RESOURCE};
use crate::resources::event::newest_warning;
use crate::typed_command;
use crate::wait;

/// Has kubectl make the object for the key, which is handed over already.
pub(super) fn declare(
    args: &GenerateArgs,
    manifest: &Manifest<'_>,
    key: &PlaintextKey,
    handover: Handover<'_>,
) -> Result<ApiKey, Failure> {
    let value = serde_json::to_value(manifest)
        .map_err(|error| Failure::output(&io::Error::other(error.to_string())))?;
    let FailedChange { failure, is_certain } = match args.kubectl.create::<ApiKey>(&value) {
        Ok(created) => return Ok(created),
        Err(failed) => failed,
    };
    let name = manifest.metadata.name;
    // kubectl may fail after the object was made, and repeats a request that was answered with a fault.
    match args.kubectl.get::<ApiKey>(RESOURCE, name) {
        Ok(found) if found.spec.digest.as_ref() == Some(&manifest.spec.digest) => Ok(found),
        Err(_) if !is_certain => {
            let look = typed_command::kubectl(&format!("get apikey {name}"), &args.kubectl);
            Err(handover.in_doubt(&failure, key, &look))
        }
        _ => Err(handover.not_declared(&failure)),
    }
}

/// Waits until it is decided whether the key works, and tells it. `name` is the one that was asked for: what is told to be
/// typed holds nothing of another machine's.
pub(super) fn until_ready(
    args: &GenerateArgs,
    (name, created): (&str, &ApiKey),
    whose: &str,
    out: &mut impl Write,
    terminal: &mut impl Write,
) -> Result<(), Failure> {
    let here = typed_command::at_home(&args.kubectl, &created.metadata.namespace);
    let look = typed_command::kubectl(&format!("get apikey {name}"), &here);
    if args.no_wait {
        let home = &created.metadata.namespace;
        return line(
            out,
            &format!("ApiKey {name} is declared in namespace {home}. Watch it: {look} --watch"),
        );
    }
    let mut last = created.clone();
    let waited = wait::until("the key to work", Duration::from_secs(args.timeout), terminal, || {
        last = args.kubectl.get(RESOURCE, name)?;
        let is_same = last.metadata.uid == created.metadata.uid;
        let is_decided = last.ready().is_some_and(|ready| !ready.is_passing());
        Ok((is_decided || !is_same).then_some(()))
    })
    .map_err(|failure| failure.or_else_do(&format!("the ApiKey is declared, with {whose}")))?;
    let remove = typed_command::kubectl(&format!("delete apikey {name}"), &here);
    let failed = |what: String, remedy: String| Err(Failure::new(FailureKind::Kubectl, what, name, remedy));
    match last.ready() {
        _ if last.metadata.uid != created.metadata.uid => failed(
            "somebody else replaced the ApiKey meanwhile".to_owned(),
            format!("look at it with {look}: {whose} is of no use"),
        ),
        Some(ready) if ready.is_true() => {
            let home = &last.metadata.namespace;
            let scope = last.scope_in_short();
            line(out, &format!("ApiKey {name} in namespace {home} is {}: {scope}.", ready.reason))
        }
        Some(ready) if waited.is_some() => failed(
            format!("the key is declared, but does not work ({}): {}", ready.reason, ready.message),
            format!("mend what the message names, and {whose} works; or take it back with {remove}"),
        ),
        undecided => {
            let limit = args.timeout;
            let why = undecided.map(|ready| format!(" ({}): {}", ready.reason, ready.message));
            let warned = || newest_warning(&here, &created.metadata.uid).map(|it| it.told());
            let why = why.or_else(warned).unwrap_or_else(|| ": Keyplane has not answered".to_owned());
            failed(
                format!("the key is declared, but does not work after {limit} s{why}"),
                format!(
                    "watch it with {look} --watch, and {whose} works once it is Active; or take it back with {remove}"
                ),
            )
        }
    }
}
