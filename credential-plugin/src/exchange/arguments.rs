//! The arguments that say which exchange is meant; every command that asks one takes them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::argument_values::exchange_timeout;
use crate::environment::{self, CA_VARIABLE, URL_VARIABLE};
use crate::exchange::address::{ExchangeAddress, Named};
use crate::exchange::allowed::AllowedExchange;
use crate::exec_protocol::Cluster;
use crate::failure::Failure;

/// Which exchange, and how long to wait for it.
#[derive(Args, Clone, Debug)]
pub struct ExchangeArgs {
    /// The exchange's URL: https, or http to this machine itself; wins over the cluster's and `KEYPLANE_URL`
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// PEM file with the exchange's CA; wins over the cluster's and `KEYPLANE_CA_FILE`
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// Name in the exchange's certificate, when it is not the URL's
    #[arg(long, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// Proxy to the exchange, or `none`; wins over the cluster's proxy-url and `HTTPS_PROXY`
    #[arg(long, value_name = "URL")]
    pub proxy_url: Option<String>,
    /// How long all attempts together may take, 1s to 5m; a number alone is seconds
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = exchange_timeout)]
    pub timeout: u64,
    /// Whether a client may start this in whatever folder.
    #[arg(skip)]
    pub in_any_folder: bool,
}

impl ExchangeArgs {
    /// What the arguments say about the exchange.
    #[must_use]
    pub fn named(&self) -> Named<'_> {
        Named {
            server: self.server.as_deref(),
            certificate_authority: self.certificate_authority.as_deref(),
            tls_server_name: self.tls_server_name.as_deref(),
            proxy_url: self.proxy_url.as_deref(),
            in_any_folder: self.in_any_folder,
        }
    }

    /// The exchange that they, the cluster's entry or the environment name, by the rule of [`ExchangeAddress::locate`].
    ///
    /// # Errors
    /// As that rule; [`FailureKind::Usage`](crate::failure::FailureKind::Usage) for a variable that is not text.
    pub fn locate(
        &self,
        cluster: Option<&Cluster>,
        allowed: &[AllowedExchange],
    ) -> Result<ExchangeAddress, Failure> {
        ExchangeAddress::locate(
            &self.named(),
            cluster,
            allowed,
            &Named {
                server: environment::text(URL_VARIABLE)?.as_deref(),
                certificate_authority: environment::path(CA_VARIABLE).as_deref(),
                ..Named::default()
            },
        )
    }

    /// What all attempts together may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}
