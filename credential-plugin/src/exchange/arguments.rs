//! The arguments that say which exchange is meant; every command that asks one takes them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// Which exchange, and how long to wait for it.
#[derive(Args, Clone, Debug)]
pub struct ExchangeArgs {
    /// The exchange's URL: https, or http to this machine itself; wins over the cluster's and `KEYPLANE_URL`
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// PEM file with the exchange's CA; wins over the cluster's and `KEYPLANE_CA_FILE`
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// Seconds that all attempts together may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub timeout: u64,
}

impl ExchangeArgs {
    /// What all attempts together may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}
