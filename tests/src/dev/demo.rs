//! `make demo`: the main job, end to end, on a control plane that comes and goes with it.

use anyhow::Result;

use super::walkthrough::Walkthrough;
use super::{demo_steps, environment};
use crate::control_plane::ControlPlane;
use crate::install;
use crate::keyplane_process::{Keyplane, KeyplaneOptions};
use crate::progress::say;
use crate::workspace;

/// Starts a fresh control plane and `keyplane all` with the shipped RBAC, walks through the steps, and takes
/// everything away again, also after a failure.
///
/// # Errors
/// When a step does not come to what it should; the end of Keyplane's log is shown then.
pub async fn demo() -> Result<()> {
    say("keyplane: starting a Kubernetes control plane");
    let cluster = ControlPlane::start().await?;
    say("keyplane: installing Keyplane into it");
    let installation = install::install(cluster.kubectl(), cluster.access(), cluster.dir()).await?;
    let keyplane =
        Keyplane::start(cluster.supervise(), cluster.dir(), &KeyplaneOptions::all(&installation)).await?;

    let mut walk = Walkthrough::new(&workspace::root(), std::io::stdout());
    let tools = environment::tools(cluster.dir(), cluster.kubectl().program())?;
    let mut path = tools.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    walk.set("PATH", path);
    walk.set("KUBECONFIG", cluster.access().kubeconfig());
    walk.set("KUBECACHEDIR", cluster.dir().join("kubectl-cache"));
    walk.set("KEYPLANE_URL", keyplane.url());
    walk.set("KEYPLANE_CA_FILE", keyplane.ca_file());
    walk.set("KEYPLANE_INTERNAL_URL", keyplane.internal_url());
    let cluster_ca = cluster.dir().join("cluster-ca.crt");
    std::fs::write(&cluster_ca, cluster.ca_pem()?.unwrap_or_default())?;
    walk.set("CLUSTER_URL", cluster.server_url()?);
    walk.set("CLUSTER_CA_FILE", cluster_ca);
    walk.set("KEYPLANE_CACHE_DIR", cluster.dir().join("token-cache"));
    // Where the steps put what the reader would keep at home.
    walk.set("DEMO", cluster.dir());

    let outcome = demo_steps::walk(&mut walk).await;
    match &outcome {
        Ok(()) => walk.finish(),
        Err(_) => say(format!("keyplane: the server logged\n{}", keyplane.log())),
    }
    outcome
}
