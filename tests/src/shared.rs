//! What all tests of a run use together. They keep apart by account: each test takes names of its own.

use anyhow::{Result, anyhow};
use tokio::sync::OnceCell;

use crate::control_plane::ControlPlane;
use crate::install::{self, Installation};
use crate::keyplane_process::{Keyplane, KeyplaneOptions};
use crate::test_run;

/// A failure is kept too: the tests after the first need not wait for the same one again.
type Once<T> = OnceCell<Result<T, String>>;

static CLUSTER: Once<ControlPlane> = OnceCell::const_new();
static INSTALLATION: Once<Installation> = OnceCell::const_new();
static KEYPLANE: Once<SharedKeyplane> = OnceCell::const_new();

/// Keyplane running on the shared control plane, with the identities and the RBAC that are shipped.
#[derive(Debug)]
pub struct SharedKeyplane {
    /// The control plane.
    pub cluster: &'static ControlPlane,
    /// What was installed, and the kubeconfig of Keyplane's own identities.
    pub installation: Installation,
    /// `keyplane all`.
    pub keyplane: Keyplane,
}

/// The control plane of this test run, started by whoever asks first.
///
/// # Errors
/// When it does not start; the same error for everybody.
pub async fn shared_cluster() -> Result<&'static ControlPlane> {
    once(&CLUSTER, || async {
        let cluster = ControlPlane::from_environment().await?;
        if test_run::dir().is_some() {
            // It ends with the process, when nobody is left to put its records aside.
            cluster.keep_dir();
        }
        Ok(cluster)
    })
    .await
}

/// [`shared_cluster`] with Keyplane's resource definitions and manifests applied, once.
///
/// # Errors
/// When it does not start or the manifests are refused; the same error for everybody.
pub async fn shared_installation() -> Result<(&'static ControlPlane, &'static Installation)> {
    let cluster = shared_cluster().await?;
    let installation =
        once(&INSTALLATION, || install::install(cluster.kubectl(), cluster.access(), cluster.dir()));
    Ok((cluster, installation.await?))
}

/// Keyplane on [`shared_cluster`], started by whoever asks first.
///
/// # Errors
/// When it does not start; the same error for everybody.
pub async fn shared_keyplane() -> Result<&'static SharedKeyplane> {
    once(&KEYPLANE, || async {
        let (cluster, installation) = shared_installation().await?;
        let options = KeyplaneOptions::all(installation);
        let keyplane = Keyplane::start(cluster.supervise(), cluster.dir(), &options).await?;
        Ok(SharedKeyplane { cluster, installation: installation.clone(), keyplane })
    })
    .await
}

async fn once<T, F, Fut>(cell: &'static Once<T>, start: F) -> Result<&'static T>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let outcome = cell.get_or_init(|| async { start().await.map_err(|error| format!("{error:#}")) }).await;
    outcome.as_ref().map_err(|error| anyhow!("{error}"))
}
