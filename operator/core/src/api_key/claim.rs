//! Whose a digest is, where several keys name it.

use chrono::{DateTime, Utc};

use crate::seniority::Seniority;

/// A key's claim on a digest. The smallest one holds it.
///
/// A claim that is recorded comes before all that are not: a digest is no secret, and whoever learns one must not get
/// the key by writing it into an object of their own, however old that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Since when the key's record holds the digest.
    pub since: Option<DateTime<Utc>>,
    /// The key's place by age.
    pub seniority: Seniority,
}

impl Ord for Claim {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let order = |claim: &Self| claim.since.unwrap_or(DateTime::<Utc>::MAX_UTC);
        order(self).cmp(&order(other)).then_with(|| self.seniority.cmp(&other.seniority))
    }
}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
