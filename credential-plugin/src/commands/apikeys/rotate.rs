//! `apikeys rotate`: another key takes the place of the one before, in the way in which the key is made and handed over.

use std::io::Write;
use std::path::PathBuf;

use chrono::Utc;
use clap::Args;
use keyplane_core::key_format::PlaintextKey;
use serde_json::Value;

use super::{OneKeyArgs, patch};
use crate::argument_values::grace_period;
use crate::failure::{Failure, FailureKind};
use crate::kubectl::{FailedChange, Patched};
use crate::new_key::{self, Handover};
use crate::output::line;
use crate::resources::api_key::{ApiKey, RESOURCE};
use crate::resources::timestamp;
use crate::typed_command;
use crate::wait;

/// Attempts at a change that others' changes get in the way of, such as the count of the key's uses.
const ATTEMPTS: usize = 5;

const HELP: &str = "\
A key of your own: a new one is made here and shown once, or kept with --key-out;
then its digest is declared. A key that Keyplane makes: another is asked for, and
handed over as before, in the Secret or sealed (see kubectl-keyplane reveal).
Without a grace period the key before it is refused from then on.

Examples:
  kubectl-keyplane apikeys rotate ci --namespace acme --grace 24h \\
    --key-out ci.key
  kubectl-keyplane apikeys rotate deploy --namespace acme --no-wait";

/// The arguments of `apikeys rotate`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct RotateArgs {
    /// Which key.
    #[command(flatten)]
    pub key: OneKeyArgs,
    /// How long the key before it goes on working, such as 24h; kept for later rotations too [default: as declared, else 0]
    #[arg(long, value_name = "TIME", value_parser = grace_period)]
    pub grace: Option<u32>,
    /// New file for the key, mode 0600, in place of standard error
    #[arg(long, value_name = "FILE")]
    pub key_out: Option<PathBuf>,
    /// Do not wait until the new key works
    #[arg(long)]
    pub no_wait: bool,
}

/// How a key is made and handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its holder makes it, and declares its digest.
    Own,
    /// Keyplane writes it into the Secret of this name.
    Secret(String),
    /// Keyplane seals it to the `SshKey` of this name.
    Sealed(String),
}

impl Kind {
    /// The kind of a key.
    #[must_use]
    pub fn of(key: &ApiKey) -> Self {
        let delivery = key.spec.delivery.clone().unwrap_or_default();
        match (delivery.secret_name, delivery.sealed_to) {
            (Some(secret), _) => Self::Secret(secret),
            (_, Some(sealed)) => Self::Sealed(sealed.ssh_key),
            _ => Self::Own,
        }
    }
}

/// Rotates the key.
///
/// # Errors
/// [`FailureKind::Usage`] for a key that is over and for a `--key-out` that cannot be obeyed, else as [`super::run`].
pub fn run(args: &RotateArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    Handover::of(args.key_out.as_deref())?;
    let key = args.key.get()?;
    if key.is_over() {
        return Err(Failure::new(
            FailureKind::Usage,
            "the key is over for good",
            &args.key.name,
            "declare another ApiKey: see kubectl-keyplane generate --help",
        ));
    }
    match Kind::of(&key) {
        Kind::Own => own(args, &key, out, terminal),
        kind => made_by_keyplane(args, &key, &kind, out, terminal),
    }
}

fn own(
    args: &RotateArgs,
    key: &ApiKey,
    out: &mut impl Write,
    terminal: &mut impl Write,
) -> Result<(), Failure> {
    let name = &args.key.name;
    let handover = Handover::of(args.key_out.as_deref())?;
    let new = new_key::make()?;
    match handover {
        Handover::File(path) => new_key::keep(&new, path)?,
        // Shown first: a key that is declared and that nobody has would end the one before.
        Handover::Shown => {
            let words = format!(
                "Keep the new key of ApiKey {name} in a file that only you can read; it is shown this once and kept nowhere:"
            );
            new_key::tell(terminal, &[words], Some(&new))?;
        }
    }
    declare(args, key, &new, handover)?;
    if let Handover::File(path) = handover {
        let kept = format!("The new key of ApiKey {name} is in {}.", path.display());
        new_key::tell(terminal, &[kept], None)?;
    }
    finish(args, key, out, terminal)
}

/// Declares the new key's digest, unless somebody else declares another meanwhile.
fn declare(
    args: &RotateArgs,
    key: &ApiKey,
    new: &PlaintextKey,
    handover: Handover<'_>,
) -> Result<(), Failure> {
    let changed = change(
        args,
        key,
        |current| patch::declare(current, new, args.grace),
        |current| current.spec.digest == key.spec.digest,
    );
    let Err(FailedChange { failure, is_certain }) = changed else { return Ok(()) };
    let OneKeyArgs { name, kubectl, .. } = &args.key;
    // kubectl may fail after the change was made, and repeats a request that was answered with a fault.
    match args.key.get() {
        // The patch names the one that was read.
        Ok(found) if found.metadata.uid != key.metadata.uid => Err(handover.not_declared(&failure)),
        Ok(found) if found.spec.digest == Some(new.digest().to_string()) => Ok(()),
        _ if is_certain => Err(handover.not_declared(&failure)),
        // Another digest says nothing: a later rotation may stand over this one, whose key counts for a grace period.
        _ => {
            let look = typed_command::kubectl(&format!("get apikey {name}"), kubectl);
            Err(handover.in_doubt(&failure, new, &look))
        }
    }
}

fn made_by_keyplane(
    args: &RotateArgs,
    key: &ApiKey,
    kind: &Kind,
    out: &mut impl Write,
    terminal: &mut impl Write,
) -> Result<(), Failure> {
    let OneKeyArgs { name, .. } = &args.key;
    let home = &key.metadata.namespace;
    let here = typed_command::at_home(&args.key.kubectl, home);
    let place = match kind {
        Kind::Secret(secret) => format!("will be in the Secret {secret} of namespace {home}"),
        Kind::Sealed(ssh_key) => format!("will be sealed to the SshKey {ssh_key}"),
        Kind::Own => String::new(),
    };
    if args.key_out.is_some() {
        return Err(Failure::new(
            FailureKind::Usage,
            "Keyplane makes this key, and --key-out cannot be obeyed",
            name,
            format!("leave out --key-out: the new key {place}"),
        ));
    }
    change(
        args,
        key,
        |current| patch::request_rotation(current, args.grace, Utc::now()),
        |current| current.spec.rotation.requested_at == key.spec.rotation.requested_at,
    )?;
    line(out, &format!("Another key for ApiKey {name} is asked for; it {place}."))?;
    finish(args, key, out, terminal)?;
    if args.no_wait {
        return Ok(());
    }
    match kind {
        Kind::Secret(secret) => line(
            out,
            &format!(
                "Read it: {} -o jsonpath='{{.data.key}}' | base64 -d",
                typed_command::kubectl(
                    &format!("get {}", typed_command::word(&format!("secret/{secret}"))),
                    &here
                )
            ),
        ),
        Kind::Sealed(_) => {
            let reveal = typed_command::keyplane(&format!("reveal {name}"), &here);
            line(out, &format!("Read it: {reveal}"))
        }
        Kind::Own => Ok(()),
    }
}

/// Makes a change on top of what was read, anew where others' changes come in between, as long as `is_free` says that
/// they are not of this kind.
fn change(
    args: &RotateArgs,
    key: &ApiKey,
    patch: impl Fn(&ApiKey) -> Value,
    is_free: impl Fn(&ApiKey) -> bool,
) -> Result<(), FailedChange> {
    let mut current = key.clone();
    for _ in 0..ATTEMPTS {
        match args.key.kubectl.merge_patch::<ApiKey>(RESOURCE, &args.key.name, &patch(&current))? {
            Patched::Done(_) => return Ok(()),
            Patched::Conflict => current = args.key.look(&key.metadata.uid)?,
        }
        if !is_free(&current) || current.is_over() {
            break;
        }
    }
    // Perhaps by this very command, whose request kubectl has repeated.
    Err(FailedChange { failure: args.key.changed(), is_certain: false })
}

/// Waits until the new version works, and tells what becomes of the one before.
fn finish(
    args: &RotateArgs,
    before: &ApiKey,
    out: &mut impl Write,
    terminal: &mut impl Write,
) -> Result<(), Failure> {
    if args.no_wait {
        return Ok(());
    }
    let name = &args.key.name;
    let here = typed_command::at_home(&args.key.kubectl, &before.metadata.namespace);
    let waited = wait::until("the new key to work", args.key.limit(), terminal, || {
        let key = args.key.look(&before.metadata.uid)?;
        let Some(ready) = key.ready() else { return Ok(None) };
        if ready.is_true() && key.version() > before.version() {
            return Ok(Some(key));
        }
        if ready.is_true() || ready.is_passing() {
            return Ok(None);
        }
        let remedy = if ready.reason == "Locked" {
            let unlock = typed_command::keyplane(&format!("apikeys unlock {name}"), &here);
            format!(
                "look at what locked it and lift the lock: {unlock}; the rotation is declared and goes on then"
            )
        } else {
            "mend what the message names; the rotation is declared and goes on then".to_owned()
        };
        Err(Failure::new(
            FailureKind::Kubectl,
            format!("the key cannot be used ({}): {}", ready.reason, ready.message),
            name,
            remedy,
        ))
    })?;
    let key = waited.ok_or_else(|| args.key.late("another key is asked for", before))?;
    let prefix = key.status.prefix.as_deref().unwrap_or("no prefix");
    line(out, &format!("ApiKey {name} has a new key ({prefix}): version {}.", key.version()))?;
    match key.status.version.and_then(|version| version.previous_until) {
        Some(until) => line(out, &format!("The key before it works until {}.", timestamp(until))),
        None => line(out, "The key before it is refused."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_is_of_the_kind_that_its_delivery_says() {
        for (delivery, kind) in [
            (json!(null), Kind::Own),
            (json!({"secretName": "deploy-key"}), Kind::Secret("deploy-key".to_owned())),
            (json!({"sealedTo": {"sshKey": "laptop"}}), Kind::Sealed("laptop".to_owned())),
        ] {
            let key: ApiKey = serde_json::from_value(json!({"spec": {"delivery": delivery}})).unwrap();
            assert_eq!(Kind::of(&key), kind);
        }
    }
}
