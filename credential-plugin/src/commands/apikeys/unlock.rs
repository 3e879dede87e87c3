//! `apikeys unlock`.

use std::io::Write;

use chrono::Utc;
use clap::Args;

use super::{OneKeyArgs, patch};
use crate::failure::{Failure, FailureKind};
use crate::kubectl::Patched;
use crate::output::{self, line};
use crate::resources::api_key::{ApiKey, RESOURCE, SecurityEvent};
use crate::resources::timestamp;
use crate::wait;

const HELP: &str = "\
A key is locked after uses from addresses outside its list: whoever did so holds
the whole key. Unlock it if they were your own addresses, else revoke it.

Examples:
  kubectl-keyplane apikeys unlock ci --namespace acme";

/// The arguments of `apikeys unlock`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct UnlockArgs {
    /// Which key.
    #[command(flatten)]
    pub key: OneKeyArgs,
}

/// Tells what led to the lock, lifts it, and waits until the key is not locked any more.
///
/// # Errors
/// [`FailureKind::Usage`] for a key that is over, else as [`super::run`].
pub fn run(args: &UnlockArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    let OneKeyArgs { name, kubectl, .. } = &args.key;
    let key = args.key.get()?;
    if key.is_over() {
        return Err(Failure::new(
            FailureKind::Usage,
            "the key is over for good, and no lock counts any more",
            name,
            "declare another ApiKey: see kubectl-keyplane generate --help",
        ));
    }
    if !patch::is_locked(&key, Utc::now()) {
        return line(out, &format!("ApiKey {name} is not locked."));
    }
    line(out, &format!("ApiKey {name} was locked by these uses from outside its list of addresses:"))?;
    events(&key.status.security_events, out)?;
    let Patched::Done(_) = kubectl.merge_patch::<ApiKey>(RESOURCE, name, &patch::unlock(&key, Utc::now()))?
    else {
        return Err(args.key.changed());
    };
    let unlocked = wait::until("the key to be unlocked", args.key.limit(), terminal, || {
        let key = args.key.look(&key.metadata.uid)?;
        let answered = key.ready().is_some_and(|ready| ready.reason != "Locked" && !ready.is_passing());
        Ok((answered && key.status.state.as_deref() != Some("Locked")).then_some(key))
    })?;
    let unlocked = unlocked.ok_or_else(|| args.key.late("spec.unlockedAt is set", &key))?;
    let state = unlocked.status.state.as_deref().unwrap_or("Pending");
    line(out, &format!("ApiKey {name} is unlocked; its state is {state}."))
}

fn events(events: &[SecurityEvent], out: &mut impl Write) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = events
        .iter()
        .map(|event| {
            let time = event.time.map_or_else(|| "-".to_owned(), timestamp);
            vec![time, event.reason.clone(), event.address.clone(), event.count.to_string()]
        })
        .collect();
    output::table(&["TIME", "EVENT", "ADDRESS", "USES"], &rows, out)
}
