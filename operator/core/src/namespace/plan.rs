//! What a Namespace needs: a core Namespace made for it, never an adopted one.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Namespace as CoreNamespace;
use keyplane_crds::{Account, Namespace, NamespaceStatus};

use super::name::LONGEST_KUBERNETES_NAME;
use super::provisions::provisions;
use crate::child::Child;
use crate::limits::namespace_limit;
use crate::ownership::{Owner, OwnerKind, is_made_for, kubernetes_name};
use crate::plan::{Plan, changed, teardown};
use crate::provisioning::{Provisioning, has_finalizer, provision};
use crate::readiness::{Readiness, Reason, Status};

/// What is known about a Namespace.
#[derive(Clone, Debug)]
pub struct ObservedNamespace {
    /// The Namespace.
    pub namespace: Arc<Namespace>,
    /// The account whose home namespace it stands in, if it is one's.
    pub account: Option<Arc<Account>>,
    /// The core Namespace that has the wanted name, whoever made it.
    pub core: Option<Arc<CoreNamespace>>,
    /// What was made for it, the core Namespace included.
    pub children: Vec<Child>,
    /// How many of the account's other namespaces take up room: those that stand, and older ones that wait.
    pub ahead: u32,
}

/// What to do for a Namespace.
#[must_use]
pub fn plan(observed: &ObservedNamespace, now: DateTime<Utc>) -> Plan<NamespaceStatus> {
    let namespace = &observed.namespace;
    if namespace.metadata.deletion_timestamp.is_some() {
        // What stands in the core Namespace goes with it.
        let core: Vec<Child> =
            observed.children.iter().filter(|child| matches!(child, Child::Namespace(_))).cloned().collect();
        return Plan::of(teardown(&core, has_finalizer(&namespace.metadata)));
    }
    let stored = namespace.status.as_ref();
    let generation = namespace.metadata.generation;
    let say = |readiness: &Readiness, name: Option<String>| {
        let previous = stored.map(|status| status.conditions.clone()).unwrap_or_default();
        NamespaceStatus { id: namespace.metadata.uid.clone(), name, ..NamespaceStatus::default() }
            .saying(readiness, &previous, generation, now)
    };
    let name = kubernetes_name(namespace);
    let account = match admissible(observed, &name) {
        Ok(account) => account,
        Err(readiness) => {
            return Plan {
                actions: Vec::new(),
                status: changed(say(&readiness, None), stored),
                wake_at: None,
            };
        }
    };
    let account_name = account.metadata.name.clone().unwrap_or_default();
    let owner = Owner::new(OwnerKind::Namespace, &namespace.metadata, &account_name);
    let wanted = provisions(account, &owner, &name);
    let ready = Readiness::ready(Reason::Provisioned, format!("use it with kubectl -n {name}"));
    let place = format!("core Namespace {name}");
    let Provisioning { actions, readiness, is_mending } =
        provision(&namespace.metadata, observed.core.as_deref(), &wanted, &observed.children, &place, ready);
    let keeps_ready = is_mending && stored.is_some_and(|status| status.is_ready_at(generation));
    let status = if keeps_ready { None } else { changed(say(&readiness, Some(name)), stored) };
    Plan { actions, status, wake_at: None }
}

/// The account for which the core Namespace may be made, or why it may not.
fn admissible<'a>(observed: &'a ObservedNamespace, name: &str) -> Result<&'a Account, Readiness> {
    let namespace = &observed.namespace;
    let home = namespace.metadata.namespace.as_deref().unwrap_or_default();
    let Some(account) = &observed.account else {
        return Err(account_not_found(home));
    };
    if name.len() > LONGEST_KUBERNETES_NAME {
        return Err(Readiness::not_ready(
            Reason::NameTooLong,
            format!(
                "the core Namespace would be {name}, of {} characters; Kubernetes allows {LONGEST_KUBERNETES_NAME}: \
                 choose a shorter name",
                name.len()
            ),
        ));
    }
    if observed.core.as_ref().is_some_and(|core| !is_made_for(core, namespace.metadata.uid.as_deref())) {
        return Err(Readiness::not_ready(
            Reason::NameTaken,
            format!(
                "namespace {name} exists and was not made for this resource; Keyplane never takes over a namespace: \
                 choose another name, or remove that namespace"
            ),
        ));
    }
    let limit = namespace_limit(account);
    if observed.core.is_none() && observed.ahead >= limit {
        return Err(Readiness::not_ready(
            Reason::LimitReached,
            format!(
                "the account may have {limit} namespaces, and others take them all: delete one that is no longer used, and \
                 this one becomes ready by itself"
            ),
        ));
    }
    Ok(account)
}

/// The verdict about a resource outside of any account's home namespace.
#[must_use]
pub(crate) fn account_not_found(home: &str) -> Readiness {
    Readiness::not_ready(
        Reason::AccountNotFound,
        format!(
            "namespace {home} is no account's home: declare this in the home namespace of an account; \
             `kubectl get accounts` shows them in the column HOME"
        ),
    )
}
