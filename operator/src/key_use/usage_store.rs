//! Where uses are counted.

use std::fmt;
use std::str::FromStr;

use redis::{ConnectionInfo, IntoConnectionInfo};
use thiserror::Error;

/// Where uses are counted: `--usage-store`.
#[derive(Clone, Debug)]
pub enum UsageStore {
    /// In the keys' statuses.
    Kubernetes,
    /// In Redis, from where the totals are written to the keys' statuses.
    Redis(RedisAddress),
}

/// How Redis is reached. It may hold a password, and is never shown.
#[derive(Clone)]
pub struct RedisAddress(ConnectionInfo);

impl RedisAddress {
    pub(super) fn connection(&self) -> ConnectionInfo {
        self.0.clone()
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The host and port have no secret in them; the rest may.
        write!(f, "redis://{}", self.0.addr())
    }
}

/// Why a usage store cannot be used. What was given is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UsageStoreError {
    /// Redis over TLS.
    #[error(
        "--usage-store: Redis over TLS (rediss://) is not supported; give redis://HOST[:PORT][/DB] of a TLS proxy beside Keyplane"
    )]
    Tls,
    /// Neither of the two stores.
    #[error("--usage-store must be kubernetes or redis://[[USER:]PASSWORD@]HOST[:PORT][/DB]")]
    Unknown,
}

impl FromStr for UsageStore {
    type Err = UsageStoreError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "kubernetes" {
            return Ok(Self::Kubernetes);
        }
        match text.split_once("://") {
            Some(("redis", rest)) if !rest.is_empty() => {
                let connection = text.into_connection_info().map_err(|_| UsageStoreError::Unknown)?;
                Ok(Self::Redis(RedisAddress(connection)))
            }
            Some(("rediss", _)) => Err(UsageStoreError::Tls),
            _ => Err(UsageStoreError::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_and_redis_are_stores_and_nothing_else_is() {
        assert!(matches!("kubernetes".parse(), Ok(UsageStore::Kubernetes)));
        for redis in
            ["redis://localhost", "redis://localhost:6380/2", "redis://:secret@[::1]:6379", "redis://a:b@c"]
        {
            assert!(matches!(redis.parse(), Ok(UsageStore::Redis(_))), "{redis}");
        }
        assert_eq!("rediss://localhost".parse::<UsageStore>().unwrap_err(), UsageStoreError::Tls);
        for other in
            ["", "Kubernetes", "redis", "redis:", "redis://", "redis://h:port", "postgres://h", "unix:///s"]
        {
            assert_eq!(other.parse::<UsageStore>().unwrap_err(), UsageStoreError::Unknown, "{other}");
        }
    }

    #[test]
    fn a_password_is_neither_shown_nor_repeated() {
        let store: UsageStore = "redis://user:s3cret@redis.example:6379".parse().unwrap();
        let shown = format!("{store:?}");
        assert!(shown.contains("redis.example:6379") && !shown.contains("s3cret"), "{shown}");
        for wrong in ["http://user:s3cret@h", "redis://user:s3cret@h:port", "rediss://user:s3cret@h"] {
            let error = wrong.parse::<UsageStore>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }
}
