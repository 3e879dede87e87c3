//! How long a revocation took, and since when.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use keyplane_crds::{ApiKey, Revocation};

use crate::child::{Child, ChildKind};
use crate::seniority::timestamp;

/// Kubernetes notes times in whole seconds; a request that is noted this much before it was seen was seen late.
const SEEN_AT_ONCE: TimeDelta = TimeDelta::seconds(2);

/// What the status says of a revocation.
#[must_use]
pub fn revocation(key: &ApiKey, children: &[Child], now: DateTime<Utc>) -> Revocation {
    let stored = key.status.as_ref().and_then(|status| status.revocation.clone());
    let mut revocation = stored.unwrap_or_else(|| Revocation {
        requested_at: requested_at(key, now),
        refused_after_millis: None,
        unbound_after_millis: None,
    });
    let is_bound = children.iter().any(|child| child.kind() == ChildKind::RoleBinding);
    if revocation.unbound_after_millis.is_none() && !is_bound {
        let took = now.signed_duration_since(revocation.requested_at).num_milliseconds();
        revocation.unbound_after_millis = Some(u64::try_from(took).unwrap_or_default());
    }
    revocation
}

/// When the revocation was asked for: now, where it is seen as it happens; when it was written, where nobody was there.
fn requested_at(key: &ApiKey, now: DateTime<Utc>) -> DateTime<Utc> {
    let entries = key.metadata.managed_fields.iter().flatten();
    let written = entries
        .filter(|entry| {
            let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
            fields.and_then(|fields| fields.get("f:spec")).is_some_and(|spec| spec.get("f:revoked").is_some())
        })
        .filter_map(|entry| entry.time.as_ref().map(timestamp))
        .max();
    let now = now.trunc_subsecs(3);
    written.filter(|written| now.signed_duration_since(*written) > SEEN_AT_ONCE).unwrap_or(now)
}
