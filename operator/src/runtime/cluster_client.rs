//! The connection to the API server.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// How long connecting to the API server may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long a connection may be silent while an answer is awaited: longer than a watch, which is renewed every 20 s.
/// Without it, a request on a half-open connection would wait for ever, and what is known would grow stale unseen.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// A client for the given context, or for the pod's ServiceAccount, or for the default kubeconfig.
///
/// # Errors
/// When there is no usable configuration.
pub(super) async fn client(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<Client> {
    let options = KubeConfigOptions { context: context.map(ToOwned::to_owned), ..KubeConfigOptions::default() };
    let mut config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &options).await.with_context(|| format!("kubeconfig {}", path.display()))?
        }
        None if context.is_some() => Config::from_kubeconfig(&options).await.context("the default kubeconfig")?,
        None => Config::infer().await.context(
            "no cluster: neither a pod's ServiceAccount nor a kubeconfig was found; give --kubeconfig FILE",
        )?,
    };
    config.connect_timeout = Some(CONNECT_LIMIT);
    config.read_timeout = Some(SILENCE_LIMIT);
    config.reset_reader_on_write = true;
    // The client's own repetitions know nothing of the plan: a failed write is planned anew, a failed mint is the
    // caller's to repeat.
    config.default_retry = false;
    Client::try_from(config).context("cannot make a client for the API server")
}
