//! What a key is given: an identity, its anchor, and one RoleBinding for each namespace it is granted.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use keyplane_crds::{
    Account, ApiKey, ApiKeyState, ApiKeyStatus, ClusterRoleName, IDENTITIES_NAMESPACE, KEY_PREFIX_ANNOTATION,
};

use super::access::describe;
use super::lifecycle::{Standing, standing};
use super::scope::{Grant, OwnedNamespace, ScopeError, resolve};
use crate::child::Child;
use crate::key_format::{KeyDigest, KeyPrefix};
use crate::namespace::account_not_found;
use crate::ownership::{Owner, OwnerKind, identity_name, key_binding_name};
use crate::plan::{Action, Convergence, Plan, changed, teardown};
use crate::provisioning::has_finalizer;
use crate::readiness::{Readiness, Reason, Status};
use crate::seniority::Seniority;

/// The type of an anchor Secret, so that nobody takes it for one that holds something.
pub const ANCHOR_TYPE: &str = "keyplane.dev/anchor";

/// What is known about an `ApiKey`.
#[derive(Clone, Debug)]
pub struct ObservedApiKey {
    /// The `ApiKey`.
    pub key: Arc<ApiKey>,
    /// The account whose home namespace it stands in, if it is one's.
    pub account: Option<Arc<Account>>,
    /// The account's namespaces.
    pub namespaces: Vec<OwnedNamespace>,
    /// The places of the other keys that have the same digest, anywhere in the cluster.
    pub rivals: Vec<Seniority>,
    /// What was made for it.
    pub children: Vec<Child>,
}

/// What a key is to have, and what its status says of it.
struct Verdict {
    state: ApiKeyState,
    /// What is granted; `None` takes everything away.
    grant: Option<Grant>,
    readiness: Readiness,
}

/// What to do for an `ApiKey`.
#[must_use]
pub fn plan(observed: &ObservedApiKey, now: DateTime<Utc>) -> Plan<ApiKeyStatus> {
    let key = &observed.key;
    let has_finalizer = has_finalizer(&key.metadata);
    if key.metadata.deletion_timestamp.is_some() {
        return Plan::of(teardown(&observed.children, has_finalizer));
    }
    let stored = key.status.as_ref();
    let generation = key.metadata.generation;
    let verdict = verdict(observed, now);
    let wanted = verdict.grant.as_ref().map(|grant| wanted(observed, grant)).unwrap_or_default();
    let convergence = Convergence::between(&wanted, &observed.children);
    let mut actions = convergence.actions.clone();
    let needs_finalizer = !wanted.is_empty() && !has_finalizer;
    if needs_finalizer {
        actions.insert(0, Action::AddFinalizer);
    }
    let pending = verdict.readiness.ready && (needs_finalizer || !convergence.is_complete());
    let (state, readiness) = match convergence.conflict() {
        Some(conflict) if verdict.readiness.ready => (ApiKeyState::Pending, conflict),
        _ if pending => (
            ApiKeyState::Pending,
            Readiness::not_ready(Reason::Provisioning, "the key's access is being set up"),
        ),
        _ => (verdict.state, verdict.readiness),
    };
    let granted = verdict.grant.as_ref().filter(|_| state == ApiKeyState::Active);
    let live_without_kubernetes = state == ApiKeyState::Active && granted.is_none();
    let wanted_status = ApiKeyStatus {
        state: Some(state),
        prefix: prefix(key),
        access: (granted.is_some() || live_without_kubernetes).then(|| describe(&key.spec.scope, granted)),
        namespaces: granted.map(|grant| grant.namespaces.iter().cloned().collect()).unwrap_or_default(),
        ..ApiKeyStatus::default()
    }
    .saying(&readiness, stored.map_or(&[], |status| &status.conditions), generation, now);
    // A key that works goes on working while something is added or mended beside it.
    let keeps_ready = pending
        && readiness.reason == Reason::Provisioning
        && stored.is_some_and(|status| status.is_ready_at(generation));
    let status = if keeps_ready { None } else { changed(wanted_status, stored) };
    let wake_at = key.spec.expires_at.filter(|_| standing(key, now) == Standing::Live);
    Plan { actions, status, wake_at }
}

/// The rules, each with its reason, in the order in which they are asked.
fn verdict(observed: &ObservedApiKey, now: DateTime<Utc>) -> Verdict {
    let key = &observed.key;
    let invalid = |reason, message: String| Verdict {
        state: ApiKeyState::Invalid,
        grant: None,
        readiness: Readiness::not_ready(reason, message),
    };
    let ended = |state, reason, message: &str| Verdict {
        state,
        grant: None,
        readiness: Readiness::not_ready(reason, message),
    };
    match standing(key, now) {
        Standing::Revoked | Standing::Deleting => {
            return ended(
                ApiKeyState::Revoked,
                Reason::Revoked,
                "the key was revoked; make another for further use",
            );
        }
        Standing::Expired => {
            return ended(
                ApiKeyState::Expired,
                Reason::Expired,
                "the key's time is over; make another for further use",
            );
        }
        Standing::ExpiredAtCreation => {
            return invalid(
                Reason::ExpiredAtCreation,
                "Expiration must be in the future: spec.expiresAt lies before the key's creation; set a later time"
                    .to_owned(),
            );
        }
        Standing::Live => {}
    }
    if observed.account.is_none() {
        let readiness = account_not_found(home(key));
        return Verdict { state: ApiKeyState::Invalid, grant: None, readiness };
    }
    if key.spec.digest.as_deref().unwrap_or_default().parse::<KeyDigest>().is_err() {
        return invalid(
            Reason::InvalidDigest,
            "spec.digest must be sha256: and 64 lower-case hexadecimal digits: `kubectl-keyplane generate` makes a \
             key and its digest"
                .to_owned(),
        );
    }
    let own = Seniority::of(&key.metadata);
    if observed.rivals.iter().any(|rival| *rival < own) {
        return invalid(
            Reason::DuplicateDigest,
            "an older ApiKey has the same digest, and one key cannot be two: make a new key with \
             `kubectl-keyplane generate`"
                .to_owned(),
        );
    }
    match resolve(&key.spec.scope, &observed.namespaces) {
        Err(ScopeError::NotOwned(named)) => invalid(Reason::NamespaceNotOwned, not_owned(key, &named)),
        Err(error) => invalid(Reason::InvalidScope, error.to_string()),
        Ok(Some(grant)) if !grant.awaited.is_empty() => {
            let names: Vec<_> = grant.awaited.iter().map(|namespace| namespace.name.as_str()).collect();
            let message = format!(
                "waiting for the account's namespace {} to be provisioned: `kubectl get namespaces.keyplane.dev -n {}` tells \
                 what it waits for",
                names.join(", "),
                home(key)
            );
            let readiness = Readiness::not_ready(Reason::NamespaceNotReady, message);
            Verdict { state: ApiKeyState::Pending, grant: Some(grant), readiness }
        }
        Ok(grant) => Verdict {
            state: ApiKeyState::Active,
            readiness: Readiness::ready(Reason::Active, "the key can be used"),
            grant,
        },
    }
}

fn home(key: &ApiKey) -> &str {
    key.metadata.namespace.as_deref().unwrap_or_default()
}

/// What to tell about ids or names that are not those of the account's namespaces. Whether another account has them is
/// not told.
fn not_owned(key: &ApiKey, named: &[String]) -> String {
    let home = home(key);
    let mut text = format!(
        "not a namespace of account {home}: {}; `kubectl get namespaces.keyplane.dev -n {home}` lists its namespaces",
        named.join(", ")
    );
    // The core Namespace's name is what people use with kubectl, and so what they write here first.
    let prefix = format!("{home}-");
    if let Some(short) = named.iter().find_map(|name| name.strip_prefix(&prefix)) {
        text = format!("{text}; a namespace is named as in its own resource: {short}, not {prefix}{short}");
    }
    text
}

/// The identity, its anchor, then the `RoleBinding`s.
fn wanted(observed: &ObservedApiKey, grant: &Grant) -> Vec<Child> {
    let account =
        observed.account.as_ref().and_then(|account| account.metadata.name.clone()).unwrap_or_default();
    let owner = Owner::new(OwnerKind::ApiKey, &observed.key.metadata, &account);
    let identity = identity_name(&owner.uid);
    let mut wanted = vec![
        Child::from(ServiceAccount {
            metadata: owner.child_metadata(Some(IDENTITIES_NAMESPACE), &identity),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        }),
        Child::from(Secret {
            metadata: owner.child_metadata(Some(IDENTITIES_NAMESPACE), &identity),
            type_: Some(ANCHOR_TYPE.to_owned()),
            immutable: Some(true),
            ..Secret::default()
        }),
    ];
    wanted.extend(
        grant
            .namespaces
            .iter()
            .map(|namespace| Child::from(binding(&owner, &identity, &namespace.kubernetes_name, grant.role))),
    );
    wanted
}

fn binding(owner: &Owner, identity: &str, namespace: &str, role: ClusterRoleName) -> RoleBinding {
    RoleBinding {
        metadata: owner.child_metadata(Some(namespace), &key_binding_name(&owner.uid)),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: role.cluster_role().to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: identity.to_owned(),
            namespace: Some(IDENTITIES_NAMESPACE.to_owned()),
            api_group: None,
        }]),
    }
}

/// The display prefix that the key's maker left, where it is one.
fn prefix(key: &ApiKey) -> Option<String> {
    let text = key.metadata.annotations.as_ref()?.get(KEY_PREFIX_ANNOTATION)?;
    text.parse::<KeyPrefix>().ok().map(|prefix| prefix.to_string())
}
