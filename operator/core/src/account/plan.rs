//! What an Account needs: its home namespace, never an adopted one, and the owners' rights in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Namespace as CoreNamespace;
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use keyplane_crds::{Account, AccountStatus, OwnerKind as SubjectKind};

use crate::child::Child;
use crate::ownership::{OWNERS_BINDING, Owner, OwnerKind, is_made_for};
use crate::plan::{Plan, changed, teardown};
use crate::provisioning::{Provisioning, has_finalizer, provision};
use crate::readiness::{Readiness, Reason, Status};

/// The `ClusterRole` that an account's owners have in the home namespace.
pub const OWNER_CLUSTER_ROLE: &str = "keyplane:account-owner";

/// What is known about an Account.
#[derive(Clone, Debug)]
pub struct ObservedAccount {
    /// The Account.
    pub account: Arc<Account>,
    /// The core Namespace that has the account's name, whoever made it.
    pub home: Option<Arc<CoreNamespace>>,
    /// What was made for the account, the home namespace included.
    pub children: Vec<Child>,
}

/// What to do for an Account.
#[must_use]
pub fn plan(observed: &ObservedAccount, now: DateTime<Utc>) -> Plan<AccountStatus> {
    let account = &observed.account;
    if account.metadata.deletion_timestamp.is_some() {
        // The home namespace takes the account's resources with it; each of them cleans up after itself.
        return Plan::of(teardown(&observed.children, has_finalizer(&account.metadata)));
    }
    let name = account.metadata.name.clone().unwrap_or_default();
    let stored = account.status.as_ref();
    let say = |readiness: Readiness, home: Option<String>| {
        let previous = stored.map(|status| status.conditions.clone()).unwrap_or_default();
        AccountStatus { home_namespace: home, ..AccountStatus::default() }.saying(
            &readiness,
            &previous,
            account.metadata.generation,
            now,
        )
    };
    let foreign =
        observed.home.as_ref().is_some_and(|home| !is_made_for(home, account.metadata.uid.as_deref()));
    if foreign {
        let readiness = Readiness::not_ready(
            Reason::NameTaken,
            format!(
                "namespace {name} exists and was not made for this Account; Keyplane never takes over a namespace: \
                 choose another account name, or remove that namespace"
            ),
        );
        return Plan { actions: Vec::new(), status: changed(say(readiness, None), stored), wake_at: None };
    }
    let wanted = wanted(account, &name);
    let ready = Readiness::ready(
        Reason::Provisioned,
        format!("declare API keys, SSH keys and namespaces in namespace {name}"),
    );
    let place = format!("home namespace {name}");
    let Provisioning { actions, readiness, is_mending } =
        provision(&account.metadata, observed.home.as_deref(), &wanted, &observed.children, &place, ready);
    let keeps_ready =
        is_mending && stored.is_some_and(|status| status.is_ready_at(account.metadata.generation));
    let status = if keeps_ready { None } else { changed(say(readiness, Some(name)), stored) };
    Plan { actions, status, wake_at: None }
}

/// The home namespace, then the owners' RoleBinding in it.
fn wanted(account: &Account, name: &str) -> Vec<Child> {
    let owner = Owner::new(OwnerKind::Account, &account.metadata, name);
    let mut metadata = owner.child_metadata(None, name);
    // No workload belongs in a home namespace.
    metadata.labels.get_or_insert_with(BTreeMap::new).extend([
        ("pod-security.kubernetes.io/enforce".to_owned(), "restricted".to_owned()),
        ("keyplane.dev/home".to_owned(), "true".to_owned()),
    ]);
    let mut wanted = vec![Child::from(CoreNamespace { metadata, ..CoreNamespace::default() })];
    let mut owners = account.spec.owners.clone();
    owners.sort();
    owners.dedup();
    if !owners.is_empty() {
        wanted.push(Child::from(RoleBinding {
            metadata: owner.child_metadata(Some(name), OWNERS_BINDING),
            role_ref: RoleRef {
                api_group: Some(RBAC_GROUP.to_owned()),
                kind: "ClusterRole".to_owned(),
                name: OWNER_CLUSTER_ROLE.to_owned(),
            },
            subjects: Some(owners.iter().map(subject).collect()),
        }));
    }
    wanted
}

const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

fn subject(owner: &keyplane_crds::Owner) -> Subject {
    let (kind, group) = match owner.kind {
        SubjectKind::User => ("User", Some(RBAC_GROUP)),
        SubjectKind::Group => ("Group", Some(RBAC_GROUP)),
        SubjectKind::ServiceAccount => ("ServiceAccount", None),
    };
    Subject {
        api_group: group.map(ToOwned::to_owned),
        kind: kind.to_owned(),
        name: owner.name.clone(),
        namespace: owner.namespace.clone(),
    }
}
