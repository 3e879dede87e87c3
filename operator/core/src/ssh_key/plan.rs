//! What an `SshKey`'s status says. Nothing is made for an SSH key, so there are never steps.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyplane_crds::{Account, SshKey, SshKeyStatus};

use super::standing::{SshKeyFacts, Verdict, verdict};
use crate::account::ssh_key_limit;
use crate::namespace::account_not_found;
use crate::plan::{Plan, changed};
use crate::readiness::{Readiness, Reason, Status};

/// What is known about an `SshKey`.
#[derive(Clone, Debug)]
pub struct ObservedSshKey {
    /// The `SshKey`.
    pub ssh_key: Arc<SshKey>,
    /// What matters about it.
    pub facts: SshKeyFacts,
    /// The account whose home namespace it stands in, if it is one's.
    pub account: Option<Arc<Account>>,
    /// The account's other keys, and every key with the same fingerprint in the cluster. All that share a
    /// fingerprint with one of the account's belong here too.
    pub rivals: Vec<SshKeyFacts>,
}

/// What to do for an `SshKey`.
#[must_use]
pub fn plan(observed: &ObservedSshKey, now: DateTime<Utc>) -> Plan<SshKeyStatus> {
    let ssh_key = &observed.ssh_key;
    if ssh_key.metadata.deletion_timestamp.is_some() {
        return Plan::of(Vec::new());
    }
    let stored = ssh_key.status.as_ref();
    let (readiness, default) = readiness(observed);
    let public_key = observed.facts.key.as_ref().ok();
    let status = SshKeyStatus {
        type_: public_key.map(|key| key.key_type().as_str().to_owned()),
        fingerprint: public_key.map(|key| key.fingerprint().to_owned()),
        default,
        ..SshKeyStatus::default()
    }
    .saying(&readiness, stored.map_or(&[], |status| &status.conditions), ssh_key.metadata.generation, now);
    Plan { actions: Vec::new(), status: changed(status, stored), wake_at: None }
}

fn readiness(observed: &ObservedSshKey) -> (Readiness, bool) {
    let Some(account) = &observed.account else {
        let home = observed.ssh_key.metadata.namespace.as_deref().unwrap_or_default();
        return (account_not_found(home), false);
    };
    let key = match &observed.facts.key {
        Ok(key) => key,
        Err(error) => return (Readiness::not_ready(Reason::InvalidPublicKey, error.to_string()), false),
    };
    let limit = ssh_key_limit(account);
    match verdict(&observed.facts, &observed.rivals, limit) {
        Verdict::Registered { default } => {
            let message = key.warning().map_or_else(|| "the key is registered".to_owned(), ToOwned::to_owned);
            (Readiness::ready(Reason::Registered, message), default)
        }
        Verdict::Duplicate => (
            Readiness::not_ready(
                Reason::DuplicatePublicKey,
                "This SSH key already exists in the system: an older SshKey holds it; register another key",
            ),
            false,
        ),
        Verdict::LimitReached => (
            Readiness::not_ready(
                Reason::LimitReached,
                format!("the account may have {limit} SSH keys: delete one that is no longer used; the oldest stay"),
            ),
            false,
        ),
        Verdict::Invalid => (
            Readiness::not_ready(Reason::InvalidPublicKey, "spec.publicKey is not an SSH public key in OpenSSH format"),
            false,
        ),
    }
}
