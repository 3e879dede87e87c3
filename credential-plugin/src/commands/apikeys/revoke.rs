//! `apikeys revoke`.

use std::io::{self, BufRead, IsTerminal as _, Write};
use std::time::Duration;

use clap::Args;

use super::{OneKeyArgs, patch};
use crate::failure::{Failure, FailureKind};
use crate::kubectl::Patched;
use crate::output::{line, shown};
use crate::resources::api_key::{ApiKey, RESOURCE};
use crate::wait;

/// How long the measurement may come after the state: the API and the controller write one each.
const MEASUREMENT: Duration = Duration::from_secs(5);

const HELP: &str = "\
A revoked key is refused at once and for ever; its tokens end within seconds.
What uses it must be given another key first.

Examples:
  kubectl-keyplane apikeys revoke ci --namespace acme
  kubectl-keyplane apikeys revoke ci --namespace acme --yes --timeout 2m";

/// The arguments of `apikeys revoke`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct RevokeArgs {
    /// Which key.
    #[command(flatten)]
    pub key: OneKeyArgs,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// Revokes the key once it was confirmed, waits until that is done, and tells how long it took.
///
/// # Errors
/// [`FailureKind::Usage`] when it was not confirmed, else as [`super::run`].
pub fn run(args: &RevokeArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    let OneKeyArgs { name, kubectl, .. } = &args.key;
    let key = args.key.get()?;
    if key.status.state.as_deref() == Some("Revoked") {
        line(out, &format!("ApiKey {name} was revoked before."))?;
        return tell_measured(&key, out);
    }
    if !args.yes {
        if !io::stdin().is_terminal() {
            return Err(Failure::new(
                FailureKind::Usage,
                "nobody is there to confirm that the key ends for good",
                name,
                "run the command on a terminal, or give --yes",
            ));
        }
        confirm(&key, &mut io::stdin().lock(), terminal)?;
    }
    let Patched::Done(_) = kubectl.merge_patch::<ApiKey>(RESOURCE, name, &patch::revoke(&key))? else {
        return Err(args.key.changed());
    };
    let uid = &key.metadata.uid;
    let is_revoked = |key: &ApiKey| key.status.state.as_deref() == Some("Revoked");
    let revoked = wait::until("the key to be revoked", args.key.limit(), terminal, || {
        let key = args.key.look(uid)?;
        Ok(is_revoked(&key).then_some(key))
    })?;
    let revoked = revoked.ok_or_else(|| args.key.late("spec.revoked is true and the key is refused"))?;
    line(out, &format!("ApiKey {name} is revoked."))?;
    let measured = wait::until("how long it took", MEASUREMENT.min(args.key.limit()), terminal, || {
        let key = args.key.look(uid)?;
        let revocation = key.status.revocation.as_ref();
        let is_whole = revocation
            .is_some_and(|it| it.refused_after_millis.is_some() && it.unbound_after_millis.is_some());
        Ok(is_whole.then_some(key))
    });
    // The key is revoked, whatever becomes of the measurement.
    tell_measured(&measured.ok().flatten().unwrap_or(revoked), out)
}

fn tell_measured(key: &ApiKey, out: &mut impl Write) -> Result<(), Failure> {
    let Some(revocation) = &key.status.revocation else { return Ok(()) };
    if let Some(millis) = revocation.refused_after_millis {
        line(out, &format!("Refused by every exchange after {millis} ms."))?;
    }
    if let Some(millis) = revocation.unbound_after_millis {
        line(out, &format!("Its rights in namespaces were gone after {millis} ms."))?;
    }
    Ok(())
}

/// Says what will happen, and asks for the key's name.
///
/// # Errors
/// [`FailureKind::Usage`] for another answer.
fn confirm(key: &ApiKey, answers: &mut impl BufRead, terminal: &mut impl Write) -> Result<(), Failure> {
    let name = &key.metadata.name;
    let prefix = key.status.prefix.as_deref().unwrap_or("no prefix");
    let mut asked = || -> io::Result<String> {
        writeln!(
            terminal,
            "ApiKey {name} ({prefix}, {}) will be refused at once, and never works again.",
            shown(&key.scope_in_short())
        )?;
        write!(terminal, "Type its name to revoke it: ")?;
        terminal.flush()?;
        let mut line = String::new();
        answers.read_line(&mut line)?;
        Ok(line)
    };
    if asked().map_err(|error| Failure::output(&error))?.trim() == name {
        return Ok(());
    }
    Err(Failure::new(
        FailureKind::Usage,
        "the name was not typed, and nothing was revoked",
        name,
        "run the command again, or give --yes",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_keys_own_name_confirms() {
        let key: ApiKey = serde_json::from_value(serde_json::json!({"metadata": {"name": "ci"}})).unwrap();
        for (answer, confirms) in [
            ("ci\n", true),
            ("ci\r\n", true),
            ("y\n", false),
            ("", false),
            ("\n", false),
            ("CI\n", false),
            ("cia\n", false),
        ] {
            let mut told = Vec::new();
            let confirmed = confirm(&key, &mut answer.as_bytes(), &mut told).is_ok();
            assert_eq!(confirmed, confirms, "{answer:?}");
            assert!(
                String::from_utf8(told)
                    .unwrap()
                    .contains("ApiKey ci (no prefix, none) will be refused at once")
            );
        }
    }
}
