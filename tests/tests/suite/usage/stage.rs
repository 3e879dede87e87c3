//! Keys without a controller, and replicas that write about them.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use keyplane_core::api_key::LockPolicy;
use keyplane_crds::{ApiKey, Usage};
use keyplane_operator::key_use::{KeyUse, Settings, UsageStore};
use keyplane_tests::access::Access;
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::install::{self, Installation};
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;

/// Three denials within five minutes.
pub(super) const POLICY: LockPolicy = LockPolicy { denials: 3, window_seconds: 300 };

/// The control plane that these tests share: Keyplane is installed on it and runs nowhere, so that nobody else writes the
/// keys' statuses.
static QUIET: OnceCell<Result<(ControlPlane, Installation), String>> = OnceCell::const_new();

async fn quiet() -> Result<&'static (ControlPlane, Installation)> {
    let started = QUIET.get_or_init(|| async {
        let start = async {
            let cluster = ControlPlane::start().await?;
            let installation = install::install(cluster.kubectl(), cluster.access(), cluster.dir()).await?;
            anyhow::Ok((cluster, installation))
        };
        start.await.map_err(|error| format!("{error:#}"))
    });
    started.await.as_ref().map_err(|error| anyhow!("{error}"))
}

/// That control plane.
pub(super) async fn quiet_cluster() -> Result<&'static ControlPlane> {
    Ok(&quiet().await?.0)
}

/// A namespace with keys in it that no controller looks at.
pub(super) struct Stage {
    pub(super) keys: Api<ApiKey>,
    kubeconfig: Kubeconfig,
}

impl Stage {
    /// On the control plane that these tests share.
    pub(super) async fn shared(namespace: &str) -> Result<Self> {
        let (cluster, installation) = quiet().await?;
        Self::on(cluster, &installation.kubeconfig, namespace).await
    }

    /// On this control plane, with Keyplane installed on it and not running.
    pub(super) async fn own(cluster: &ControlPlane, namespace: &str) -> Result<Self> {
        let installation = install::install(cluster.kubectl(), cluster.access(), cluster.dir()).await?;
        Self::on(cluster, &installation.kubeconfig, namespace).await
    }

    async fn on(cluster: &ControlPlane, kubeconfig: &std::path::Path, namespace: &str) -> Result<Self> {
        let admin = cluster.client().await?;
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}}))?;
        Api::all(admin.clone()).create(&PostParams::default(), &object).await?;
        Ok(Self { keys: Api::namespaced(admin, namespace), kubeconfig: Kubeconfig::read_from(kubeconfig)? })
    }

    /// The API's own identity, perhaps at another address. As in the server, a client repeats nothing by itself.
    pub(super) async fn api_client(&self, server: Option<&str>) -> Result<Client> {
        let options =
            KubeConfigOptions { context: Some(install::API.to_owned()), ..KubeConfigOptions::default() };
        let mut config = Config::from_custom_kubeconfig(self.kubeconfig.clone(), &options).await?;
        config.default_retry = false;
        if let Some(server) = server {
            config.cluster_url = server.parse()?;
        }
        Ok(Client::try_from(config)?)
    }

    /// Declares keys named `key-0`, `key-1`, …
    pub(super) async fn declare(&self, count: usize) -> Result<Vec<Arc<ApiKey>>> {
        futures::stream::iter(0..count)
            .map(|number| async move {
                let key: ApiKey = serde_json::from_value(json!({
                    "apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey",
                    "metadata": {"name": format!("key-{number}")},
                    "spec": {"digest": format!("sha256:{number:064x}"), "scope": {"inference": true}},
                }))?;
                anyhow::Ok(Arc::new(self.keys.create(&PostParams::default(), &key).await?))
            })
            .buffered(32)
            .try_collect()
            .await
    }

    /// Writes into a status as somebody else does, without looking.
    pub(super) async fn write_status(&self, name: &str, status: &Value) -> Result<Arc<ApiKey>> {
        let patch = Patch::Merge(json!({"status": status}));
        Ok(Arc::new(self.keys.patch_status(name, &PatchParams::default(), &patch).await?))
    }

    pub(super) async fn get(&self, name: &str) -> Result<Arc<ApiKey>> {
        Ok(Arc::new(self.keys.get(name).await?))
    }

    pub(super) async fn usage(&self, name: &str) -> Result<Usage> {
        usage(&*self.get(name).await?)
    }
}

pub(super) fn usage(key: &ApiKey) -> Result<Usage> {
    key.status.as_ref().and_then(|status| status.usage.clone()).context("no usage in the status")
}

/// What a test's replicas have in common.
pub(super) fn settings() -> Settings {
    Settings {
        interval: Duration::from_millis(200),
        writes_per_second: 100,
        drain: Duration::from_mins(1),
        lock: POLICY,
        store: UsageStore::Kubernetes,
    }
}

/// A replica at work.
pub(super) struct Replica {
    pub(super) key_use: Arc<KeyUse>,
    shutdown: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Replica {
    pub(super) fn start(client: Client, settings: &Settings) -> Result<Self> {
        let key_use = Arc::new(KeyUse::new(client, settings)?);
        let (shutdown, asked) = oneshot::channel();
        let running = tokio::spawn({
            let key_use = key_use.clone();
            async move { key_use.run(async { drop(asked.await) }).await }
        });
        Ok(Self { key_use, shutdown, running })
    }

    pub(super) fn used(&self, key: &Arc<ApiKey>, at: DateTime<Utc>) {
        self.key_use.used(key, 1, Some(address(1)), at);
    }

    /// Ends it as the server does: everything is written down.
    pub(super) async fn end(self) -> Result<()> {
        ensure!(self.shutdown.send(()).is_ok(), "the replica had ended");
        Ok(self.running.await?)
    }
}

pub(super) fn address(last: u8) -> IpAddr {
    IpAddr::from([203, 0, 113, last])
}

/// A moment in whole milliseconds, as a status holds it.
pub(super) fn moment(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_790_000_000_000 + milliseconds).unwrap_or_default()
}

/// Waits for a future that must not take for ever.
pub(super) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(keyplane_tests::waiting::PATIENCE, future)
        .await
        .with_context(|| format!("{what}: too late"))
}

/// Another way to the same server.
pub(super) fn server_url(access: &Access) -> Result<String> {
    access.cluster()?.server.context("the kubeconfig names no server")
}
