//! ApiKey: observe and write.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyplane_core::api_key::{ADDRESS_DENIED, KeyRecord, ObservedApiKey, plan};
use keyplane_core::audit::{Change, events_of};
use keyplane_core::plan::Plan;
use keyplane_core::readiness::{Readiness, ResourceKind, Status};
use keyplane_crds::{ApiKey, ApiKeyState, ApiKeyStatus};
use kube::{Api, Client, ResourceExt};

use super::announce::Notice;
use super::reconcile::Reconciler;
use crate::index::{ClusterView, digests_of_key};

/// Reconciles ApiKeys.
pub(super) struct ApiKeyReconciler;

impl Reconciler for ApiKeyReconciler {
    type Resource = ApiKey;
    type Status = ApiKeyStatus;

    const KIND: ResourceKind = ResourceKind::ApiKey;

    fn plan(view: &ClusterView, key: &Arc<ApiKey>, now: DateTime<Utc>) -> Plan<ApiKeyStatus> {
        let home = key.namespace().unwrap_or_default();
        let children = view.children_of(&key.uid().unwrap_or_default(), &home);
        let digests = digests_of_key(key, KeyRecord::among(&children).as_ref());
        let observed = ObservedApiKey {
            key: key.clone(),
            account: view.account_of(&home),
            namespaces: view.owned_namespaces(&home),
            claims: view.claims(key, &digests),
            rank: view.rank_of(key, now),
            tombstone_shard: view.tombstone_shard(&home),
            recipient: view.recipient_of(key),
            remembered: digests.into_iter().filter(|digest| view.is_remembered(&home, digest)).collect(),
            children,
        };
        plan(&observed, now)
    }

    fn stored_status(key: &ApiKey) -> Option<ApiKeyStatus> {
        key.status.clone()
    }

    fn refused_status(key: &ApiKey, readiness: &Readiness, now: DateTime<Utc>) -> ApiKeyStatus {
        let stored = key.status.clone().unwrap_or_default();
        let previous = stored.conditions.clone();
        // What ended or is locked stays so, whatever is refused.
        let state = match stored.state {
            Some(held @ (ApiKeyState::Expired | ApiKeyState::Revoked | ApiKeyState::Locked)) => held,
            _ => ApiKeyState::Pending,
        };
        ApiKeyStatus { state: Some(state), ..stored }.saying(
            readiness,
            &previous,
            key.metadata.generation,
            now,
        )
    }

    fn changes(key: &ApiKey, before: Option<&ApiKeyStatus>, after: &ApiKeyStatus) -> Vec<Change> {
        events_of(before, after, key)
    }

    fn gone() -> Option<Change> {
        Some(Change::deleted())
    }

    fn notices(key: &ApiKey) -> Option<Vec<Notice>> {
        let events = key.status.as_ref().map(|status| status.security_events.as_slice()).unwrap_or_default();
        // What happens to a key that is locked already is in its status; an Event for each would be a flood.
        let denied = events.iter().filter(|event| event.reason == ADDRESS_DENIED);
        let notices = denied.map(|event| Notice {
            at: event.time,
            reason: event.reason.clone(),
            note: format!("the key was used from {}, which is not among spec.allowedCidrs", event.address),
        });
        Some(notices.collect())
    }

    fn api(client: Client, key: &ApiKey) -> Api<ApiKey> {
        Api::namespaced(client, &key.namespace().unwrap_or_default())
    }
}
