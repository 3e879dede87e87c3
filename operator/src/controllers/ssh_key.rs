//! SshKey: observe and write.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyplane_core::plan::Plan;
use keyplane_core::ssh_key::{ObservedSshKey, SshKeyFacts, plan};
use keyplane_crds::{SshKey, SshKeyStatus};
use kube::{Api, Client, ResourceExt};

use super::reconcile::Reconciler;
use crate::index::{ClusterView, fingerprint, fingerprint_key, home_key};

/// Reconciles SshKeys.
pub(super) struct SshKeyReconciler;

impl Reconciler for SshKeyReconciler {
    type Resource = SshKey;
    type Status = SshKeyStatus;

    fn plan(view: &ClusterView, ssh_key: &Arc<SshKey>, now: DateTime<Utc>) -> Plan<SshKeyStatus> {
        let home = ssh_key.namespace().unwrap_or_default();
        let observed = ObservedSshKey {
            ssh_key: ssh_key.clone(),
            facts: SshKeyFacts::of(ssh_key),
            account: view.account_of(&home),
            rivals: rivals(view, &home).iter().map(|rival| SshKeyFacts::of(rival)).collect(),
        };
        plan(&observed, now)
    }

    fn stored_status(ssh_key: &SshKey) -> Option<SshKeyStatus> {
        ssh_key.status.clone()
    }

    fn api(client: Client, ssh_key: &SshKey) -> Api<SshKey> {
        Api::namespaced(client, &ssh_key.namespace().unwrap_or_default())
    }
}

/// The account's keys, and every key that shares a fingerprint with one of them.
fn rivals(view: &ClusterView, home: &str) -> Vec<Arc<SshKey>> {
    let own = view.ssh_keys.find(&home_key(home));
    let sharing = own.iter().filter_map(|key| fingerprint(key)).flat_map(|text| view.ssh_keys.find(&fingerprint_key(&text)));
    let by_uid: BTreeMap<_, _> =
        sharing.chain(own.iter().cloned()).map(|key| (key.uid().unwrap_or_default(), key)).collect();
    by_uid.into_values().collect()
}
