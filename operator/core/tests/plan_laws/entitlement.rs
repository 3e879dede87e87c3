//! What a key should reach, said once more in the plainest way, and what it does reach in the model.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::Subject;
use keyplane_core::child::{Child, ChildKind};
use keyplane_core::key_format::KeyDigest;
use keyplane_core::ownership::{is_binding_name, is_made_for, key_binding_name, owner_uid, owner_uid_label};
use keyplane_core::seniority::Seniority;
use keyplane_crds::{ApiKey, ApiKeyState, ClusterRoleName, IDENTITIES_NAMESPACE};

use crate::model::Cluster;
use crate::observe::account_name_of;
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

/// The core Namespaces that a key should reach, each with its `ClusterRole`; nothing at all where it should not even
/// have an identity.
pub fn should_reach(cluster: &Cluster, key: &ApiKey) -> Option<Access> {
    let home = key.metadata.namespace.as_deref().unwrap();
    let created = Seniority::of(&key.metadata).created();
    let was_expired = key.status.as_ref().is_some_and(|status| status.state == Some(ApiKeyState::Expired));
    let is_over = was_expired || key.spec.expires_at.is_some_and(|end| end <= cluster.now || end <= created);
    let has_elder = cluster.api_keys.values().any(|other| {
        other.spec.digest == key.spec.digest && Seniority::of(&other.metadata) < Seniority::of(&key.metadata)
    });
    let is_live = key.metadata.deletion_timestamp.is_none()
        && key.spec.revoked != Some(true)
        && !is_over
        && !has_elder
        && key.spec.digest.as_deref().is_some_and(|digest| digest.parse::<KeyDigest>().is_ok())
        && is_home_of_live_account(cluster, home);
    if !is_live {
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
    let exec = scope.kubernetes_exec.as_ref()?;
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
        let identities = owned
            .iter()
            .filter(|child| matches!(child.kind(), ChildKind::ServiceAccount | ChildKind::Secret))
            .count();
        assert_eq!(identities, if expected.is_some() { 2 } else { 0 }, "{key:#?}");
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
