//! What an `SshKey`'s status says. Nothing is made for an SSH key, so there are never steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyplane_crds::{Account, SshKey, SshKeyStatus};

use super::standing::{KeySummary, Verdict};
use crate::limits::ssh_key_limit;
use crate::namespace::account_not_found;
use crate::plan::{Plan, changed};
use crate::readiness::{Readiness, Reason, Status};
use crate::ssh_public_key::SshPublicKeyError;

/// What is known about an `SshKey`.
#[derive(Clone, Debug)]
pub struct ObservedSshKey {
    /// The `SshKey`.
    pub ssh_key: Arc<SshKey>,
    /// Its public key, or why it is none.
    pub key: Result<KeySummary, SshPublicKeyError>,
    /// The account whose home namespace it stands in, if it is one's.
    pub account: Option<Arc<Account>>,
    /// What [`verdicts`](super::verdicts) says of the account's keys, under the account's limit; shared by them all.
    pub verdicts: Arc<BTreeMap<String, Verdict>>,
}

/// What to do for an `SshKey`.
#[must_use]
pub fn plan(observed: &ObservedSshKey, now: DateTime<Utc>) -> Plan<SshKeyStatus> {
    let ssh_key = &observed.ssh_key;
    if ssh_key.metadata.deletion_timestamp.is_some() {
        return Plan::of(Vec::new());
    }
    let stored = ssh_key.status.as_ref();
    // A key that no verdict names is gone from what was gathered; it is looked at again when it is back.
    let Some((readiness, default)) = readiness(observed) else {
        return Plan::of(Vec::new());
    };
    let public_key = observed.key.as_ref().ok();
    let status = SshKeyStatus {
        type_: public_key.map(|key| key.key_type().as_str().to_owned()),
        fingerprint: public_key.map(|key| key.fingerprint().to_owned()),
        default,
        ..SshKeyStatus::default()
    }
    .saying(
        &readiness,
        stored.map_or(&[], |status| &status.conditions),
        ssh_key.metadata.generation,
        now,
    );
    Plan { actions: Vec::new(), status: changed(status, stored), wake_at: None }
}

fn readiness(observed: &ObservedSshKey) -> Option<(Readiness, bool)> {
    let metadata = &observed.ssh_key.metadata;
    let Some(account) = &observed.account else {
        return Some((account_not_found(metadata.namespace.as_deref().unwrap_or_default()), false));
    };
    let key = match &observed.key {
        Ok(key) => key,
        Err(error) => {
            return Some((Readiness::not_ready(Reason::InvalidPublicKey, error.to_string()), false));
        }
    };
    let refused = |reason, message: String| Some((Readiness::not_ready(reason, message), false));
    match observed.verdicts.get(metadata.uid.as_deref().unwrap_or_default())? {
        Verdict::Registered { default } => {
            let message = key.warning().unwrap_or("the key is registered");
            Some((Readiness::ready(Reason::Registered, message), *default))
        }
        Verdict::Duplicate => refused(
            Reason::DuplicatePublicKey,
            "This SSH key already exists in the system: an older SshKey holds it; register another key"
                .to_owned(),
        ),
        Verdict::LimitReached => refused(
            Reason::LimitReached,
            format!(
                "the account may have {} SSH keys: delete one that is no longer used; the oldest stay",
                ssh_key_limit(account)
            ),
        ),
        Verdict::Invalid => refused(
            Reason::InvalidPublicKey,
            "spec.publicKey is not an SSH public key in OpenSSH format".to_owned(),
        ),
    }
}
