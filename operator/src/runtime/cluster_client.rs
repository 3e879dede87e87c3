//! The connection to the API server.

use std::path::Path;
use std::time::Duration;

use anyhow::{anyhow, bail};
use kube::{Client, Config};

use super::api_error::cause;
use super::{kubeconfig, reachability};

/// How long connecting to the API server may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long a connection may be silent while an answer is awaited: longer than a watch, which is renewed every 20 s.
/// Without it, a request on a half-open connection would wait for ever, and what is known would grow stale unseen.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// A client, and the URL of its API server.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) server: String,
    /// The CA by which the API server is known (PEM), where one is configured.
    pub(super) ca: Option<Vec<u8>>,
}

/// A client for the given context, or for the default kubeconfig, or for the pod's ServiceAccount.
///
/// # Errors
/// When there is no usable configuration. Nothing of a kubeconfig's content is in the error.
pub(super) async fn connect(file: Option<&Path>, context: Option<&str>) -> anyhow::Result<Connection> {
    let mut config = match file {
        Some(path) => kubeconfig::of_file(path, context).await?,
        None => match kubeconfig::of_default(context).await? {
            Some(config) => config,
            None if context.is_some() => bail!("--context needs a kubeconfig, and none was found: give --kubeconfig FILE"),
            None => Config::incluster().map_err(|_| {
                anyhow!("no cluster: neither a kubeconfig nor a pod's ServiceAccount was found; give --kubeconfig FILE")
            })?,
        },
    };
    config.connect_timeout = Some(CONNECT_LIMIT);
    config.read_timeout = Some(SILENCE_LIMIT);
    config.reset_reader_on_write = true;
    // The client's own repetitions know nothing of the plan: a failed write is planned anew, a failed mint is the
    // caller's to repeat.
    config.default_retry = false;
    let ca = config.root_cert.as_ref().map(|certificates| {
        let pems: Vec<_> = certificates.iter().map(|der| pem::Pem::new("CERTIFICATE", der.clone())).collect();
        pem::encode_many(&pems).into_bytes()
    });
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let client = Client::try_from(config)
        .map_err(|error| anyhow!("cannot make a client for the API server {server}: {}", cause(&error)))?;
    reachability::server_is(&server);
    Ok(Connection { client, server, ca })
}
