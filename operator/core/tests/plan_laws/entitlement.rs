//! What a key should reach, said once more in the plainest way, and what it does reach in the model.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use k8s_openapi::api::rbac::v1::Subject;
use keyplane_core::api_key::KeyRecord;
use keyplane_core::child::{Child, ChildKind};
use keyplane_core::key_format::KeyDigest;
use keyplane_core::ownership::{
    anchor_name, is_binding_name, is_made_for, key_binding_name, owner_uid, owner_uid_label,
};
use keyplane_core::readiness::Status;
use keyplane_core::seniority::Seniority;
use keyplane_crds::{ApiKey, ApiKeyState, ClusterRoleName, IDENTITIES_NAMESPACE};

use crate::model::Cluster;
use crate::observe::account_name_of;
use crate::observe_keys::{keys_naming, record_of, uid_of};
use crate::resource::Place;

type Access = BTreeSet<(String, String)>;

/// Whether a core Namespace is the home of an account that is not being deleted: said by the label with its UID.
pub fn is_home_of_live_account(cluster: &Cluster, home: &str) -> bool {
    let account = cluster.accounts.get(&Place::cluster(home));
    let labels = cluster.core(home).and_then(|core| core.metadata.labels.as_ref());
    account.is_some_and(|account| {
        account.metadata.deletion_timestamp.is_none()
            && labels.and_then(|labels| labels.get("keyplane.dev/owner-uid")) == account.metadata.uid.as_ref()
    })
}

/// Whether a key's own life, its account, a lock, its digest and its place allow it anything.
fn is_permitted(cluster: &Cluster, key: &ApiKey) -> bool {
    let home = key.metadata.namespace.as_deref().unwrap();
    let record = record_of(cluster, key).unwrap_or_default();
    is_alive(cluster, key)
        && is_home_of_live_account(cluster, home)
        && !is_locked(key, cluster.now)
        && digest_of(key, &record).is_none_or(|digest| {
            digest.parse::<KeyDigest>().is_ok()
                && !cluster.tombstones.contains(digest)
                && !is_anothers(cluster, key, digest)
        })
        && has_place(cluster, key, record.admitted_under)
        && (record.live.is_some() || has_recipient(cluster, key))
}

/// Whether a key is neither revoked, nor over, nor on its way out.
fn is_alive(cluster: &Cluster, key: &ApiKey) -> bool {
    let created = Seniority::of(&key.metadata).created();
    let state = key.status.as_ref().and_then(|status| status.state);
    let is_over = key.spec.expires_at.is_some_and(|end| end <= cluster.now || end <= created);
    key.metadata.deletion_timestamp.is_none()
        && key.spec.revoked != Some(true)
        && !matches!(state, Some(ApiKeyState::Expired | ApiKeyState::Revoked))
        && !is_over
}

fn is_locked(key: &ApiKey, now: DateTime<Utc>) -> bool {
    let lock = key.status.as_ref().and_then(|status| status.lock.as_ref());
    lock.is_some_and(|lock| key.spec.unlocked_at.is_none_or(|at| at <= lock.locked_at || at > now))
}

/// The digest that a key stands for: the declared one, or that of the key that Keyplane made.
fn digest_of<'a>(key: &'a ApiKey, record: &'a KeyRecord) -> Option<&'a str> {
    key.spec.digest.as_deref().or(record.live.as_ref().map(|live| live.digest.as_str()))
}

/// Whether another key has the digest: it had it on record first, or nobody has and it is older.
fn is_anothers(cluster: &Cluster, key: &ApiKey, digest: &str) -> bool {
    let place = |key: &ApiKey| {
        let since = record_of(cluster, key).and_then(|record| record.holds_since(digest));
        (since.is_none(), since, Seniority::of(&key.metadata))
    };
    let own = place(key);
    keys_naming(cluster, digest).any(|other| place(other) < own)
}

/// Whether fewer older keys than the account may have take up room; a lower limit than the one that the key was admitted
/// under does not count.
fn has_place(cluster: &Cluster, key: &ApiKey, admitted_under: u32) -> bool {
    let home = key.metadata.namespace.as_deref().unwrap();
    let limits = cluster.accounts[&Place::cluster(home)].spec.limits.as_ref();
    let limit = limits.and_then(|limits| limits.active_api_keys).unwrap_or(50);
    let takes_room = |other: &&ApiKey| {
        let digest = other.spec.digest.as_deref();
        other.metadata.namespace == key.metadata.namespace
            && Seniority::of(&other.metadata) < Seniority::of(&key.metadata)
            && is_alive(cluster, other)
            && digest.is_none_or(|digest| {
                !cluster.tombstones.contains(digest) && !is_anothers(cluster, other, digest)
            })
    };
    let ahead = cluster.api_keys.values().filter(takes_room).count();
    ahead < usize::try_from(limit.max(admitted_under)).unwrap()
}

/// Whether a first key can be handed over.
fn has_recipient(cluster: &Cluster, key: &ApiKey) -> bool {
    let sealed_to = key.spec.delivery.as_ref().and_then(|delivery| delivery.sealed_to.as_ref());
    sealed_to.is_none_or(|to| {
        let home = key.metadata.namespace.as_deref().unwrap();
        let found = cluster.ssh_keys.get(&Place::within(home, &to.ssh_key));
        found.and_then(|found| found.status.as_ref().map(|status| (found, status))).is_some_and(
            |(found, status)| {
                found.metadata.deletion_timestamp.is_none() && status.is_ready_at(found.metadata.generation)
            },
        )
    })
}

/// The core Namespaces that a key should reach, each with its `ClusterRole`; nothing at all where it should not verify
/// either.
pub fn should_reach(cluster: &Cluster, key: &ApiKey) -> Option<Access> {
    let home = key.metadata.namespace.as_deref().unwrap();
    if !is_permitted(cluster, key) {
        return None;
    }
    // The account's namespaces as (id, name, core Namespace if it stands).
    let own: Vec<(&str, &str, Option<String>)> = cluster
        .namespaces
        .values()
        .filter(|one| {
            one.metadata.namespace.as_deref() == Some(home) && one.metadata.deletion_timestamp.is_none()
        })
        .map(|one| {
            let uid = one.metadata.uid.as_deref().unwrap();
            let name = one.metadata.name.as_deref().unwrap();
            let core = format!("{home}-{name}");
            let stands = cluster.core(&core).is_some_and(|found| {
                is_made_for(found, Some(uid)) && found.metadata.deletion_timestamp.is_none()
            });
            (uid, name, stands.then_some(core))
        })
        .collect();
    let everywhere = |role: ClusterRoleName| {
        own.iter().filter_map(|(_, _, core)| Some((core.clone()?, role.cluster_role().to_owned()))).collect()
    };
    let scope = &key.spec.scope;
    if scope.all == Some(true) {
        return Some(everywhere(ClusterRoleName::Admin));
    }
    let Some(exec) = scope.kubernetes_exec.as_ref() else { return Some(Access::new()) };
    let role = exec.role.unwrap_or_default();
    if exec.all_namespaces == Some(true) {
        return Some(everywhere(role));
    }
    let is_ours = exec.namespace_ids.iter().all(|wanted| own.iter().any(|(id, _, _)| id == wanted))
        && exec.namespaces.iter().all(|wanted| own.iter().any(|(_, name, _)| name == wanted));
    is_ours.then(|| {
        own.iter()
            .filter(|(id, name, _)| {
                exec.namespace_ids.iter().any(|wanted| id == wanted)
                    || exec.namespaces.iter().any(|wanted| name == wanted)
            })
            .filter_map(|(_, _, core)| Some((core.clone()?, role.cluster_role().to_owned())))
            .collect()
    })
}

/// A key whose end lay before its creation can still be mended.
fn is_born_over(key: &ApiKey) -> bool {
    let created = Seniority::of(&key.metadata).created();
    key.spec.revoked != Some(true) && key.spec.expires_at.is_some_and(|end| end <= created)
}

/// The anchors of the versions that verify.
fn anchors(key: &ApiKey, record: &KeyRecord, now: DateTime<Utc>) -> Vec<String> {
    let rotation = key.spec.rotation.as_ref();
    let grace = rotation.and_then(|rotation| rotation.grace_period_seconds).unwrap_or_default();
    let versions = record.verifying(grace, now);
    versions.iter().map(|version| anchor_name(uid_of(key), &version.digest)).collect()
}

/// Asserts of a settled cluster that every key reaches what it should and nothing else, and that no identity, anchor
/// or `RoleBinding` of ours has lost its owner (invariants I3 and I7).
pub fn assert_exact(cluster: &Cluster) {
    for key in cluster.api_keys.values() {
        let uid = key.metadata.uid.as_deref().unwrap();
        let owned: Vec<&Child> = cluster
            .objects
            .values()
            .filter(|child| owner_uid(child.metadata()) == Some(uid) && is_right_of_ours(child))
            .collect();
        let found: Access = owned
            .iter()
            .filter_map(|child| match child {
                Child::RoleBinding(binding) => {
                    assert_eq!(binding.metadata.name.as_deref(), Some(key_binding_name(uid).as_str()));
                    Some((binding.metadata.namespace.clone().unwrap(), binding.role_ref.name.clone()))
                }
                _ => None,
            })
            .collect();
        let expected = should_reach(cluster, key);
        let count = |kind| owned.iter().filter(|child| child.kind() == kind).count();
        let record = record_of(cluster, key);
        let verifying: BTreeSet<String> =
            record.iter().flat_map(|record| anchors(key, record, cluster.now)).collect();
        let anchored: BTreeSet<String> = owned
            .iter()
            .filter(|child| child.kind() == ChildKind::Secret)
            .map(|child| child.reference().name)
            .collect();
        if expected.is_some() {
            assert_eq!(count(ChildKind::ServiceAccount), 1, "{key:#?}");
            assert_eq!(anchored, verifying, "{key:#?}");
        } else {
            assert_eq!(anchored, BTreeSet::new(), "{key:#?}");
        }
        // One that is refused for now keeps its record; one that is over does not.
        assert!(
            is_alive(cluster, key) || is_born_over(key) || count(ChildKind::ServiceAccount) == 0,
            "{key:#?}"
        );
        assert_eq!(found, expected.unwrap_or_default(), "{key:#?}");
    }
    for child in cluster.objects.values().filter(|child| is_right_of_ours(child)) {
        let owner = owner_uid(child.metadata());
        assert!(
            owner.is_some_and(|uid| account_name_of(cluster, uid).is_some()),
            "{} has no live owner",
            child.reference()
        );
    }
}

/// Whether an object is an identity, an anchor, or a `RoleBinding` that is labelled as ours or gives a key something.
fn is_right_of_ours(child: &Child) -> bool {
    match child {
        Child::ServiceAccount(_) | Child::Secret(_) => {
            child.reference().namespace.as_deref() == Some(IDENTITIES_NAMESPACE)
        }
        Child::RoleBinding(binding) => {
            let gives = |subject: &Subject| subject.namespace.as_deref() == Some(IDENTITIES_NAMESPACE);
            is_binding_name(&child.reference().name)
                && (owner_uid_label(child.metadata()).is_some()
                    || binding.subjects.iter().flatten().any(gives))
        }
        _ => false,
    }
}
