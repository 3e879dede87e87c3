//! SIGKILL between any two writes of a change in a key's life: it comes to the same end, at most one version of the key
//! is live, and nobody loses a key.
//!
//! These tests kill, so each has a control plane and a Keyplane of its own.

mod afterwards;
mod delivery;
mod lock;
mod revocation;
mod rotation;

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, ensure};
use chrono::{SecondsFormat, Utc};
use keyplane_tests::crash_points::{CrashStage, Scenario};
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use keyplane_tests::tenant::Tenant;

/// A controller to kill, an API beside it that lives on, and an account with the namespaces `web` and `db`.
///
/// The API writes as it is used, and goes around the proxy: only what the controller does is counted.
struct Theatre {
    own: Tenant,
    // Before its control plane.
    _api: Keyplane,
    stage: CrashStage,
    names: AtomicU32,
}

impl Theatre {
    async fn open(account: &str) -> Result<Self> {
        let stage = CrashStage::start(Mode::Controller, |_| {}).await?;
        let options = KeyplaneOptions::of(Mode::Api, "keyplane-beside", stage.installation());
        let cluster = stage.cluster();
        let api = Keyplane::start(cluster.supervise(), cluster.dir(), &options).await?;
        let own = Tenant::named(cluster, &api, account).await?;
        own.namespace("web").await?;
        own.namespace("db").await?;
        Ok(Self { own, _api: api, stage, names: AtomicU32::new(0) })
    }

    async fn survives(&self, change: &impl Scenario, least_writes: usize) -> Result<()> {
        survives(&self.stage, change, least_writes).await
    }

    /// A name that no run before had.
    fn name(&self) -> String {
        format!("key-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }
}

/// Tries a change that needs at least so many writes: killed before the first, and after each. Some come together in
/// one run and not in another.
async fn survives(stage: &CrashStage, change: &impl Scenario, least_writes: usize) -> Result<()> {
    let tried = stage.at_every_write(change).await?;
    ensure!(tried.writes.len() >= least_writes && tried.kills > least_writes, "{tried:?}");
    Ok(())
}

/// The present time, as a spec names it.
fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}
