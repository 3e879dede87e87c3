//! What a key's scope resolves to: namespaces of its own account, and nothing else.
//!
//! The sentences are those of seed 003.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace as CoreNamespace;
use keyplane_crds::{ClusterRoleName, GrantedNamespace, KubernetesExec, Namespace, Scope};
use thiserror::Error;

use crate::ownership::{is_made_for, kubernetes_name};

/// A namespace of the account that a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedNamespace {
    /// Its id, name and core Namespace.
    pub namespace: GrantedNamespace,
    /// Whether its core Namespace stands and can take `RoleBinding`s.
    pub provisioned: bool,
}

impl OwnedNamespace {
    /// The account's view of a Namespace resource and the core Namespace of its name. A Namespace that is being
    /// deleted is no longer the account's to grant.
    #[must_use]
    pub fn of(namespace: &Namespace, core: Option<&CoreNamespace>) -> Option<Self> {
        let id = namespace.metadata.uid.clone().filter(|uid| !uid.is_empty())?;
        if namespace.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let provisioned = core
            .is_some_and(|core| is_made_for(core, Some(&id)) && core.metadata.deletion_timestamp.is_none());
        Some(Self {
            namespace: GrantedNamespace {
                id,
                name: namespace.metadata.name.clone()?,
                kubernetes_name: kubernetes_name(namespace),
            },
            provisioned,
        })
    }
}

/// What a scope gives in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// As what.
    pub role: ClusterRoleName,
    /// Where: provisioned namespaces of the account.
    pub namespaces: BTreeSet<GrantedNamespace>,
    /// Namespaces the scope names that are the account's but not provisioned yet.
    pub awaited: BTreeSet<GrantedNamespace>,
}

/// A scope that gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScopeError {
    /// `{}`.
    #[error("At least one explicit scope is required")]
    Nothing,
    /// Two scopes at once.
    #[error("Explicit mixed scopes are not supported")]
    Mixed,
    /// `all` and another.
    #[error("all cannot be combined with other scope fields")]
    AllWithOthers,
    /// Kubernetes, but nowhere.
    #[error("At least one namespace ID is required unless all_namespaces is true")]
    NoNamespace,
    /// All namespaces and some.
    #[error("all_namespaces cannot be combined with a list of namespaces")]
    AllNamespacesWithList,
    /// Ids or names that are not those of the account's namespaces.
    #[error("not a namespace of this account: {}", .0.join(", "))]
    NotOwned(Vec<String>),
}

/// Whether a scope speaks of Kubernetes at all.
#[must_use]
pub fn reaches_kubernetes(scope: &Scope) -> bool {
    scope.all == Some(true) || scope.kubernetes_exec.is_some()
}

/// Whether a scope has one of the shapes that seed 003 allows, whatever namespaces there are.
///
/// # Errors
/// When it has none of them.
pub(super) fn check_shape(scope: &Scope) -> Result<(), ScopeError> {
    let all = scope.all == Some(true);
    let others =
        [scope.inference == Some(true), scope.ssh_keys == Some(true), scope.kubernetes_exec.is_some()];
    match (all, others.iter().filter(|set| **set).count()) {
        (false, 0) => return Err(ScopeError::Nothing),
        (true, 1..) => return Err(ScopeError::AllWithOthers),
        (false, 2..) => return Err(ScopeError::Mixed),
        (true, 0) | (false, 1) => {}
    }
    let Some(exec) = &scope.kubernetes_exec else { return Ok(()) };
    match (exec.all_namespaces == Some(true), has_list(exec)) {
        (true, true) => Err(ScopeError::AllNamespacesWithList),
        (false, false) => Err(ScopeError::NoNamespace),
        (true, false) | (false, true) => Ok(()),
    }
}

fn has_list(exec: &KubernetesExec) -> bool {
    !exec.namespace_ids.is_empty() || !exec.namespaces.is_empty()
}

/// Resolves a scope against the namespaces of the key's account. `Ok(None)`: a scope without Kubernetes.
///
/// # Errors
/// When the scope is not one that seed 003 allows, or names a namespace that is not the account's: then nothing
/// is granted at all.
pub fn resolve(scope: &Scope, owned: &[OwnedNamespace]) -> Result<Option<Grant>, ScopeError> {
    check_shape(scope)?;
    if scope.all == Some(true) {
        return Ok(Some(everywhere(ClusterRoleName::Admin, owned)));
    }
    scope.kubernetes_exec.as_ref().map(|exec| in_namespaces(exec, owned)).transpose()
}

fn in_namespaces(exec: &KubernetesExec, owned: &[OwnedNamespace]) -> Result<Grant, ScopeError> {
    let role = exec.role.unwrap_or_default();
    if exec.all_namespaces == Some(true) {
        return Ok(everywhere(role, owned));
    }
    let mut grant = Grant { role, namespaces: BTreeSet::new(), awaited: BTreeSet::new() };
    let mut not_owned = Vec::new();
    let by_id = exec.namespace_ids.iter().map(|id| (id, owned.iter().find(|one| one.namespace.id == *id)));
    let by_name =
        exec.namespaces.iter().map(|name| (name, owned.iter().find(|one| one.namespace.name == *name)));
    for (text, found) in by_id.chain(by_name) {
        match found {
            Some(one) if one.provisioned => drop(grant.namespaces.insert(one.namespace.clone())),
            Some(one) => drop(grant.awaited.insert(one.namespace.clone())),
            None => not_owned.push(text.clone()),
        }
    }
    if not_owned.is_empty() { Ok(grant) } else { Err(ScopeError::NotOwned(not_owned)) }
}

/// Every namespace of the account that stands; one that does not yet joins when it does.
fn everywhere(role: ClusterRoleName, owned: &[OwnedNamespace]) -> Grant {
    let namespaces = owned.iter().filter(|one| one.provisioned).map(|one| one.namespace.clone()).collect();
    Grant { role, namespaces, awaited: BTreeSet::new() }
}
