//! Who reconciles: one process at a time holds the lease.
//!
//! There is no fencing: a process that lost the lease without noticing may still write. So every write is
//! idempotent and preconditioned, and a process that notices ends at once.

use std::time::Duration;

use anyhow::bail;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};

use super::api_error::cause;
use super::reachability::unanswered;

/// The name of the lease.
const LEASE: &str = "keyplane-controller";

/// How long to wait before the lease is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// The lease, once it is held.
pub(super) struct Leadership {
    manager: LeaseManager,
}

impl Leadership {
    /// Waits until this process holds the lease, however long the API server does not let it.
    pub(super) async fn gain(client: Client, namespace: &str, seconds: u64) -> Self {
        let mut trouble = Trouble { client: client.clone(), namespace: namespace.to_owned(), said: None };
        let identity = identity();
        let mut waiting = false;
        loop {
            let builder = LeaseManagerBuilder::new(client.clone(), LEASE)
                .with_namespace(namespace)
                .with_identity(identity.clone())
                .with_duration(seconds)
                .with_grace((seconds / 3).max(1));
            let gained = async {
                let manager = builder.build().await?;
                if !waiting {
                    say_who_holds(client.clone(), namespace).await;
                    waiting = true;
                }
                while !manager.changed().await? {}
                Ok(manager)
            };
            match gained.await {
                Ok(manager) => {
                    tracing::info!(namespace, lease = LEASE, "this process reconciles");
                    return Self { manager };
                }
                Err(error) => trouble.say(&error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Keeps the lease; returns only when it is lost.
    ///
    /// # Errors
    /// Always: losing the lease ends the process.
    pub(super) async fn keep(&self) -> anyhow::Result<()> {
        loop {
            match self.manager.changed().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => bail!("the lease cannot be renewed: {}", text(&error)),
            }
        }
        bail!("the lease was lost to another process")
    }

    /// Gives the lease back, so that the next process need not wait for its end.
    pub(super) async fn release(self) {
        if let Err(error) = self.manager.release().await {
            tracing::warn!(error = text(&error), "the lease could not be given back; it runs out by itself");
        }
    }
}

/// Says once what keeps the lease from being taken, and again when it is something else.
struct Trouble {
    client: Client,
    namespace: String,
    said: Option<u16>,
}

impl Trouble {
    fn say(&mut self, error: &LeaseManagerError) {
        let code = match error {
            LeaseManagerError::KubeError(kube::Error::Api(status)) => status.code,
            LeaseManagerError::KubeError(_) => {
                unanswered(&self.client);
                return;
            }
            _ => 0,
        };
        if self.said.replace(code) != Some(code) {
            let what = format!("the lease {}/{LEASE} cannot be taken", self.namespace);
            let remedy = match code {
                403 | 404 => ": apply charts/keyplane/files, or check --namespace and --context",
                401 => ", for the API server does not accept the credentials: renew them, or check --context",
                _ => "",
            };
            tracing::warn!(error = text(error), "{what}{remedy}; it is tried again");
        }
    }
}

fn text(error: &LeaseManagerError) -> String {
    match error {
        LeaseManagerError::KubeError(error) => cause(error),
        other => other.to_string(),
    }
}

/// Who is waited for. Only for people, so it does not matter when it cannot be read.
async fn say_who_holds(client: Client, namespace: &str) {
    let lease = Api::<Lease>::namespaced(client, namespace).get_opt(LEASE).await.ok().flatten();
    let holder = lease
        .and_then(|lease| lease.spec)
        .and_then(|spec| spec.holder_identity)
        .filter(|holder| !holder.is_empty());
    let holder = holder.as_deref().unwrap_or("nobody");
    tracing::info!(namespace, lease = LEASE, holder, "waiting for the lease");
}

/// This process, for people who look at the lease.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "keyplane".to_owned());
    let mut random = [0_u8; 4];
    // Without randomness the process id still tells processes on one host apart.
    let _ = getrandom::fill(&mut random);
    format!("{host}-{}-{:08x}", std::process::id(), u32::from_be_bytes(random))
}
