//! Who reconciles: one process at a time holds the lease.
//!
//! There is no fencing: a process that lost the lease without noticing may still write. So every write is
//! idempotent and preconditioned, and a process that notices ends at once.

use anyhow::{Context, bail};
use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};

/// The name of the lease.
const LEASE: &str = "keyplane-controller";

/// The lease, once it is held.
pub(super) struct Leadership {
    manager: LeaseManager,
}

impl Leadership {
    /// Waits until this process holds the lease.
    ///
    /// # Errors
    /// When the lease cannot be read or written.
    pub(super) async fn gain(client: Client, namespace: &str, seconds: u64) -> anyhow::Result<Self> {
        let manager = LeaseManagerBuilder::new(client, LEASE)
            .with_namespace(namespace)
            .with_identity(identity())
            .with_duration(seconds)
            .with_grace((seconds / 3).max(1))
            .build()
            .await
            .with_context(|| format!("cannot use the lease {namespace}/{LEASE}"))?;
        tracing::info!(namespace, lease = LEASE, "waiting for the lease");
        while !manager.changed().await.context("the lease cannot be taken")? {}
        tracing::info!(namespace, lease = LEASE, "this process reconciles");
        Ok(Self { manager })
    }

    /// Keeps the lease; returns only when it is lost.
    ///
    /// # Errors
    /// Always: losing the lease ends the process.
    pub(super) async fn keep(&self) -> anyhow::Result<()> {
        while self.manager.changed().await.context("the lease cannot be renewed")? {}
        bail!("the lease was lost to another process")
    }

    /// Gives the lease back, so that the next process need not wait for its end.
    pub(super) async fn release(self) {
        if let Err(error) = self.manager.release().await {
            tracing::warn!(%error, "the lease could not be given back; it runs out by itself");
        }
    }
}

/// This process, for people who look at the lease.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "keyplane".to_owned());
    let mut random = [0_u8; 4];
    // Without randomness the process id still tells processes on one host apart.
    let _ = getrandom::fill(&mut random);
    format!("{host}-{}-{:08x}", std::process::id(), u32::from_be_bytes(random))
}
