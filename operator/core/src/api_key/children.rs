//! The objects that a key is given.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use keyplane_crds::{ClusterRoleName, IDENTITIES_NAMESPACE};

use super::record::{KeyRecord, VERSIONS_ANNOTATION};
use super::scope::Grant;
use crate::child::Child;
use crate::ownership::{DIGEST_ANNOTATION, Owner, anchor_name, identity_name, key_binding_name};

/// The type of an anchor Secret, so that nobody takes it for one that holds something.
pub const ANCHOR_TYPE: &str = "keyplane.dev/anchor";

/// The identity, which carries the record; an anchor for each version that verifies; then the `RoleBinding`s.
pub(super) fn entitled(
    owner: &Owner,
    record: &KeyRecord,
    grant: Option<&Grant>,
    grace_seconds: u32,
    now: DateTime<Utc>,
) -> Vec<Child> {
    let identity_name = identity_name(&owner.uid);
    let mut wanted = vec![identity(owner, record)];
    for version in record.verifying(grace_seconds, now) {
        let is_live = record.live.as_ref() == Some(version);
        wanted.push(anchor(owner, &version.digest, is_live.then_some(record)));
    }
    let namespaces =
        grant.into_iter().flat_map(|grant| grant.namespaces.iter().map(|namespace| (grant.role, namespace)));
    wanted.extend(namespaces.map(|(role, namespace)| {
        Child::from(binding(owner, &identity_name, &namespace.kubernetes_name, role))
    }));
    wanted
}

/// The ServiceAccount, with the record.
pub(super) fn identity(owner: &Owner, record: &KeyRecord) -> Child {
    let mut metadata = owner.child_metadata(Some(IDENTITIES_NAMESPACE), &identity_name(&owner.uid));
    metadata
        .annotations
        .get_or_insert_with(BTreeMap::new)
        .insert(VERSIONS_ANNOTATION.to_owned(), record.to_annotation());
    Child::from(ServiceAccount {
        metadata,
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}

/// What a version's tokens are bound to: they die with it.
fn anchor(owner: &Owner, digest: &str, record: Option<&KeyRecord>) -> Child {
    let mut metadata = owner.child_metadata(Some(IDENTITIES_NAMESPACE), &anchor_name(&owner.uid, digest));
    let annotations = metadata.annotations.get_or_insert_with(BTreeMap::new);
    annotations.insert(DIGEST_ANNOTATION.to_owned(), digest.to_owned());
    if let Some(record) = record {
        annotations.insert(VERSIONS_ANNOTATION.to_owned(), record.for_anchor().to_annotation());
    }
    Child::from(Secret {
        metadata,
        type_: Some(ANCHOR_TYPE.to_owned()),
        immutable: Some(true),
        ..Secret::default()
    })
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
