//! On which way a start gets what it needs, and for how long: through which proxy it asks the exchange, or in which
//! surroundings it runs a key command. Starts of one slot may go different ways, and what fails on one of them may work
//! on another.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::Proxy;

use crate::field_digest::field_digest;

/// A way to the exchange, or to the key. It holds no proxy's address, no variable and no password, only a digest of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Way {
    through: Through,
    /// Seconds that it may take.
    seconds: u64,
}

/// What makes a difference on the way, as a SHA-256 in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Through {
    /// The proxy to the exchange; the digest of nothing when there is none.
    Proxy(String),
    /// What a key command finds around it.
    Surroundings(String),
}

impl Way {
    /// The way to the exchange through this proxy, or through none, which may take this long.
    #[must_use]
    pub fn new(proxy: Option<&Proxy>, allowed: Duration) -> Self {
        let uri = proxy.map(|proxy| proxy.uri().to_string()).unwrap_or_default();
        let fields = proxy.map(|proxy| {
            [uri.as_str(), proxy.username().unwrap_or_default(), proxy.password().unwrap_or_default()]
        });
        Self {
            through: Through::Proxy(field_digest(fields.into_iter().flatten())),
            seconds: seconds(allowed),
        }
    }

    /// The way of a key command that is run in the surroundings of this digest, and may take this long.
    #[must_use]
    pub fn of_key_command(surroundings: String, allowed: Duration) -> Self {
        Self { through: Through::Surroundings(surroundings), seconds: seconds(allowed) }
    }

    /// Whether it leads through the same as the other one.
    #[must_use]
    pub fn leads_as(&self, other: &Self) -> bool {
        self.through == other.through
    }

    /// Whether what failed on this way would fail on the other one too: it leads through the same, and has no more time.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.leads_as(other) && other.seconds <= self.seconds
    }
}

/// Rounded up: what passes before makes no difference.
fn seconds(allowed: Duration) -> u64 {
    allowed.as_secs().saturating_add(u64::from(allowed.subsec_nanos() > 0))
}
