//! Who came first: the order in which competing objects win.

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

/// An object's place among its rivals: older first, ties by UID. The API server sets both fields, so nobody can
/// move ahead by editing an object, and every replica finds the same order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seniority {
    created: DateTime<Utc>,
    uid: String,
}

impl Seniority {
    /// The place of the object with this metadata. An object that was never stored comes last.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self {
            created: metadata.creation_timestamp.as_ref().map_or(DateTime::<Utc>::MAX_UTC, timestamp),
            uid: metadata.uid.clone().unwrap_or_default(),
        }
    }

    /// When the object was created.
    #[must_use]
    pub fn created(&self) -> DateTime<Utc> {
        self.created
    }

    /// The object's UID.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }
}

/// Kubernetes' time as chrono's. A time that chrono cannot hold lies beyond any that matters here.
#[must_use]
pub fn timestamp(time: &Time) -> DateTime<Utc> {
    u32::try_from(time.0.subsec_nanosecond())
        .ok()
        .and_then(|nanoseconds| DateTime::from_timestamp(time.0.as_second(), nanoseconds))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
