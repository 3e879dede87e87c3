//! `apikeys revoke`.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::{OneKeyArgs, patch};
use crate::confirmation::Question;
use crate::failure::Failure;
use crate::kubectl::Patched;
use crate::output::line;
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
/// [`FailureKind::Usage`](crate::failure::FailureKind::Usage) when it was not confirmed, else as [`super::run`].
pub fn run(args: &RevokeArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    let OneKeyArgs { name, kubectl, .. } = &args.key;
    let key = args.key.get()?;
    if key.status.state.as_deref() == Some("Revoked") {
        line(out, &format!("ApiKey {name} was revoked before."))?;
        return tell_measured(&key, out);
    }
    if !args.yes {
        let prefix = key.status.prefix.as_deref().unwrap_or("no prefix");
        let scope = key.scope_in_short();
        let what =
            format!("ApiKey {name} ({prefix}, {scope}) will be refused at once, and never works again.");
        Question { name, what: &what, verb: "revoke" }.ask(terminal)?;
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
    let revoked =
        revoked.ok_or_else(|| args.key.late("spec.revoked is true and the key is refused", &key))?;
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
    // A key that had none has none to lose: 0 ms would be no measurement.
    if let Some(millis) = revocation.unbound_after_millis.filter(|&millis| millis > 0) {
        line(out, &format!("Its rights in namespaces were gone after {millis} ms."))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_without_namespaces_had_no_rights_that_were_measured() {
        for (unbound, lines) in [(0, 1), (7, 2)] {
            let key: ApiKey = serde_json::from_value(json!({
                "status": {"revocation": {"refusedAfterMillis": 5, "unboundAfterMillis": unbound}},
            }))
            .unwrap();
            let mut told = Vec::new();
            tell_measured(&key, &mut told).unwrap();
            assert_eq!(String::from_utf8(told).unwrap().lines().count(), lines);
        }
    }
}
