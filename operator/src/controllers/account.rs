//! Account: observe and write.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyplane_core::account::{ObservedAccount, plan};
use keyplane_core::plan::Plan;
use keyplane_core::readiness::ResourceKind;
use keyplane_crds::{Account, AccountStatus};
use kube::{Api, Client, ResourceExt};

use super::reconcile::Reconciler;
use crate::index::ClusterView;

/// Reconciles Accounts.
pub(super) struct AccountReconciler;

impl Reconciler for AccountReconciler {
    type Resource = Account;
    type Status = AccountStatus;

    const KIND: ResourceKind = ResourceKind::Account;

    fn plan(view: &ClusterView, account: &Arc<Account>, now: DateTime<Utc>) -> Plan<AccountStatus> {
        let observed = ObservedAccount {
            account: account.clone(),
            home: view.core_namespaces.get(None, &account.name_any()),
            children: view.children_of(&account.uid().unwrap_or_default(), &account.name_any()),
            holdings: view.holdings_of(&account.name_any(), now),
        };
        plan(&observed, now)
    }

    fn stored_status(account: &Account) -> Option<AccountStatus> {
        account.status.clone()
    }

    fn api(client: Client, _: &Account) -> Api<Account> {
        Api::all(client)
    }
}
