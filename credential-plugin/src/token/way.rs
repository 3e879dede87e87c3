//! The way on which a start asks the exchange: through which proxy, and for how long. Starts of one slot may go
//! different ways, and what fails on one of them may work on another.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use ureq::Proxy;

/// A way to the exchange. It holds no proxy's address and no password, only a digest of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Way {
    /// SHA-256 of the proxy, in hexadecimal; that of nothing when there is none.
    proxy: String,
    /// Seconds that the exchange may take.
    seconds: u64,
}

impl Way {
    /// The way through this proxy, or through none, which may take this long.
    #[must_use]
    pub fn new(proxy: Option<&Proxy>, allowed: Duration) -> Self {
        let mut hash = Sha256::new();
        if let Some(proxy) = proxy {
            let uri = proxy.uri().to_string();
            let fields =
                [uri.as_str(), proxy.username().unwrap_or_default(), proxy.password().unwrap_or_default()];
            for field in fields {
                // The length first: no two lists of fields run together into the same bytes.
                hash.update(field.len().to_be_bytes());
                hash.update(field);
            }
        }
        let proxy = format!("{:x}", base16ct::HexDisplay(&hash.finalize()));
        // Rounded up: what passes before the exchange is asked makes no difference.
        let seconds = allowed.as_secs().saturating_add(u64::from(allowed.subsec_nanos() > 0));
        Self { proxy, seconds }
    }

    /// Whether what failed on this way would fail on the other one too: it goes through the same proxy, and has no more
    /// time.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.proxy == other.proxy && other.seconds <= self.seconds
    }
}
