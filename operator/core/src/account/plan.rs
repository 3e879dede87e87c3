//! What an Account needs: its home namespace, never an adopted one, and the owners' rights in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Namespace as CoreNamespace;
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use keyplane_crds::{Account, AccountStatus, OwnerKind as SubjectKind};

use crate::child::Child;
use crate::limits::{active_api_key_limit, namespace_limit, ssh_key_limit};
use crate::ownership::{DELIVERY_BINDING, OWNERS_BINDING, Owner, OwnerKind, is_made_for};
use crate::plan::{Plan, changed, teardown};
use crate::provisioning::{Provisioning, has_finalizer, provision};
use crate::readiness::{Finding, LimitsReason, Readiness, Reason, Status};

/// The `ClusterRole` that an account's owners have in the home namespace.
pub const OWNER_CLUSTER_ROLE: &str = "keyplane:account-owner";

/// The `ClusterRole` by which the controller writes the Secrets that keys are delivered to, in home namespaces only.
pub const DELIVERY_CLUSTER_ROLE: &str = "keyplane:delivery";

/// The ServiceAccount that the controller runs as.
const CONTROLLER_SERVICE_ACCOUNT: &str = "keyplane-controller";
/// Where Keyplane itself runs.
const SYSTEM_NAMESPACE: &str = "keyplane-system";

/// What is known about an Account.
#[derive(Clone, Debug)]
pub struct ObservedAccount {
    /// The Account.
    pub account: Arc<Account>,
    /// The core Namespace that has the account's name, whoever made it.
    pub home: Option<Arc<CoreNamespace>>,
    /// What was made for the account, the home namespace included.
    pub children: Vec<Child>,
    /// How much the account has.
    pub holdings: Holdings,
}

/// How much an account has of what is limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// API keys that were admitted and have not ended.
    pub active_api_keys: u32,
    /// SSH keys, registered or not.
    pub ssh_keys: u32,
    /// Namespaces that stand.
    pub namespaces: u32,
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
        AccountStatus { home_namespace: home, ..AccountStatus::default() }
            .saying(&readiness, &previous, account.metadata.generation, now)
            .also(&within_limits(account, observed.holdings), &previous, account.metadata.generation, now)
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

/// Whether the account has more than it may have, which is so after a limit was lowered.
fn within_limits(account: &Account, holdings: Holdings) -> Finding {
    let rows = [
        ("API keys", "live", "activeApiKeys", holdings.active_api_keys, active_api_key_limit(account)),
        ("SSH keys", "declared", "sshKeys", holdings.ssh_keys, ssh_key_limit(account)),
        ("namespaces", "provisioned", "namespaces", holdings.namespaces, namespace_limit(account)),
    ];
    let exceeded: Vec<String> = rows
        .iter()
        .filter(|(.., has, limit)| has > limit)
        .map(|(what, how, field, has, limit)| {
            format!("{has} {what} are {how}, and spec.limits.{field} is {limit}")
        })
        .collect();
    if exceeded.is_empty() {
        return Finding::limits_of_account(
            LimitsReason::WithinLimits,
            "the account has no more than it may have",
        );
    }
    let text = format!(
        "{}; API keys that are live and namespaces that stand are not cut, but nothing further becomes ready until there is \
         room",
        exceeded.join("; ")
    );
    Finding::limits_of_account(LimitsReason::LimitExceeded, text)
}

/// The home namespace, then the RoleBindings in it: the owners', and the controller's own for delivering keys.
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
    wanted.push(Child::from(RoleBinding {
        metadata: owner.child_metadata(Some(name), DELIVERY_BINDING),
        role_ref: RoleRef {
            api_group: Some(RBAC_GROUP.to_owned()),
            kind: "ClusterRole".to_owned(),
            name: DELIVERY_CLUSTER_ROLE.to_owned(),
        },
        subjects: Some(vec![Subject {
            api_group: None,
            kind: "ServiceAccount".to_owned(),
            name: CONTROLLER_SERVICE_ACCOUNT.to_owned(),
            namespace: Some(SYSTEM_NAMESPACE.to_owned()),
        }]),
    }));
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
