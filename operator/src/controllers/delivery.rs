//! What a delivered Secret holds: the key, and a kubeconfig that is ready for use.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use keyplane_core::api_key::Issue;
use keyplane_core::key_format::PlaintextKey;
use keyplane_core::ownership::DIGEST_ANNOTATION;
use keyplane_core::readiness::Reason;
use keyplane_crds::ApiKey;
use kube::Resource;

use super::error::ReconcileError;
use crate::issued_kubeconfig::{KubeconfigError, KubeconfigSettings};

/// The entry of the Secret that holds the key.
const KEY_ENTRY: &str = "key";
/// The entry of the Secret that holds the kubeconfig.
const KUBECONFIG_ENTRY: &str = "kubeconfig";

/// The Secret that a key is delivered in.
///
/// # Errors
/// When the kubeconfig cannot be written down.
pub(super) fn secret_of(
    issue: &Issue,
    name: &str,
    settings: &KubeconfigSettings,
    key: &PlaintextKey,
) -> Result<Secret, ReconcileError> {
    let mut metadata = issue.owner.child_metadata(Some(&issue.home), name);
    metadata
        .annotations
        .get_or_insert_with(BTreeMap::new)
        .insert(DIGEST_ANNOTATION.to_owned(), key.digest().to_string());
    // With the ApiKey goes the Secret.
    metadata.owner_references = Some(vec![OwnerReference {
        api_version: ApiKey::api_version(&()).into_owned(),
        kind: ApiKey::kind(&()).into_owned(),
        name: issue.name.clone(),
        uid: issue.owner.uid.clone(),
        ..OwnerReference::default()
    }]);
    let mut data = BTreeMap::from([(KEY_ENTRY.to_owned(), ByteString(key.expose().as_bytes().to_vec()))]);
    let kubeconfig = issue.namespaces.as_ref().map(|namespaces| settings.kubeconfig(namespaces, Some(key)));
    if let Some(text) = kubeconfig.transpose().map_err(|error| undeliverable(&error))?.flatten() {
        data.insert(KUBECONFIG_ENTRY.to_owned(), ByteString(text.as_bytes().to_vec()));
    }
    Ok(Secret { metadata, type_: Some("Opaque".to_owned()), data: Some(data), ..Secret::default() })
}

fn undeliverable(error: &KubeconfigError) -> ReconcileError {
    match error {
        KubeconfigError::UnreadableCa(_) => {
            ReconcileError::Undeliverable { reason: Reason::DeliveryConflict, message: error.to_string() }
        }
        KubeconfigError::Unwritable => ReconcileError::Unreachable(error.to_string()),
    }
}
