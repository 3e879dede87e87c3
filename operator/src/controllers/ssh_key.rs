//! SshKey: observe and write.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyplane_core::plan::Plan;
use keyplane_core::readiness::ResourceKind;
use keyplane_core::ssh_key::{ObservedSshKey, plan};
use keyplane_crds::{SshKey, SshKeyStatus};
use kube::{Api, Client, ResourceExt};

use super::reconcile::Reconciler;
use crate::index::ClusterView;

/// Reconciles SshKeys.
pub(super) struct SshKeyReconciler;

impl Reconciler for SshKeyReconciler {
    type Resource = SshKey;
    type Status = SshKeyStatus;

    const KIND: ResourceKind = ResourceKind::SshKey;

    fn plan(view: &ClusterView, ssh_key: &Arc<SshKey>, now: DateTime<Utc>) -> Plan<SshKeyStatus> {
        let account = view.account_of(&ssh_key.namespace().unwrap_or_default());
        let live = account.as_ref().filter(|_| ssh_key.metadata.deletion_timestamp.is_none());
        let observed = ObservedSshKey {
            ssh_key: ssh_key.clone(),
            key: view.public_key_of(ssh_key),
            verdicts: live.map(|account| view.ssh_key_verdicts(ssh_key, account)).unwrap_or_default(),
            account,
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
