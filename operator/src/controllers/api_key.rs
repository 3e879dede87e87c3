//! ApiKey: observe and write.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyplane_core::api_key::{ObservedApiKey, plan};
use keyplane_core::plan::Plan;
use keyplane_core::readiness::{Readiness, Status};
use keyplane_core::seniority::Seniority;
use keyplane_crds::{ApiKey, ApiKeyState, ApiKeyStatus};
use kube::{Api, Client, ResourceExt};

use super::reconcile::Reconciler;
use crate::index::{ClusterView, digest_key};

/// Reconciles ApiKeys.
pub(super) struct ApiKeyReconciler;

impl Reconciler for ApiKeyReconciler {
    type Resource = ApiKey;
    type Status = ApiKeyStatus;

    fn plan(view: &ClusterView, key: &Arc<ApiKey>, now: DateTime<Utc>) -> Plan<ApiKeyStatus> {
        let home = key.namespace().unwrap_or_default();
        let rivals = view.api_keys.find(&digest_key(key.spec.digest.as_deref().unwrap_or_default()));
        let observed = ObservedApiKey {
            key: key.clone(),
            account: view.account_of(&home),
            namespaces: view.owned_namespaces(&home),
            rivals: rivals
                .iter()
                .filter(|rival| rival.metadata.uid != key.metadata.uid)
                .map(|rival| Seniority::of(&rival.metadata))
                .collect(),
            children: view.children_of(&key.uid().unwrap_or_default(), &home),
        };
        plan(&observed, now)
    }

    fn stored_status(key: &ApiKey) -> Option<ApiKeyStatus> {
        key.status.clone()
    }

    fn refused_status(key: &ApiKey, readiness: &Readiness, now: DateTime<Utc>) -> ApiKeyStatus {
        let stored = key.status.clone().unwrap_or_default();
        let previous = stored.conditions.clone();
        ApiKeyStatus { state: Some(ApiKeyState::Pending), ..stored }.saying(
            readiness,
            &previous,
            key.metadata.generation,
            now,
        )
    }

    fn api(client: Client, key: &ApiKey) -> Api<ApiKey> {
        Api::namespaced(client, &key.namespace().unwrap_or_default())
    }
}
