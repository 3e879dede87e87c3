//! A key is locked: whatever is killed, the third denied use locks it, no denial counts twice, and an unlock brings
//! everything back.
//!
//! Both parts of Keyplane are killed together: the API between its writes of the denials, the controller while it takes
//! away what the key had.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use keyplane_core::api_key::{ADDRESS_DENIED, LOCKED};
use keyplane_crds::{ApiKeyState, ApiKeyStatus};
use keyplane_tests::crash_points::{CrashStage, Scenario};
use keyplane_tests::keyplane_process::Mode;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use serde_json::json;

use super::afterwards::{anchors, bound_in, ensure_verifies, uid};
use super::{now, survives};
use crate::delivery::{digest_of, until_answered};

/// How many denied uses lock a key, where nothing else is configured.
const DENIALS: u64 = 3;

/// A key that is refused wherever these tests are.
struct Denied {
    key: HeldKey,
    /// How often it was presented.
    uses: AtomicU32,
}

struct Lock {
    own: Tenant,
    names: AtomicU32,
}

impl Lock {
    async fn status(&self, denied: &Denied) -> Result<ApiKeyStatus> {
        Ok(self.own.stored_key(&denied.key.name).await?.status.unwrap_or_default())
    }

    /// Presents the key. False when there is no answer.
    async fn present(&self, denied: &Denied) -> Result<bool> {
        denied.uses.fetch_add(1, Ordering::Relaxed);
        // Keyplane is killed meanwhile.
        let Ok(answer) = self.own.exchange(&denied.key).await else { return Ok(false) };
        ensure!(answer.status == 403, "{answer:?}");
        Ok(true)
    }
}

/// How many uses a status tells of with this reason.
fn told(status: &ApiKeyStatus, reason: &str) -> u64 {
    status.security_events.iter().filter(|event| event.reason == reason).map(|event| event.count).sum()
}

impl Scenario for Lock {
    type Prepared = Denied;

    fn name(&self) -> &'static str {
        "lock"
    }

    async fn prepare(&self, _: &CrashStage) -> Result<Denied> {
        let name = format!("key-{}", self.names.fetch_add(1, Ordering::Relaxed));
        let (key, _) = self.own.generate(&name, &["--scope", "inference"]).await?;
        let spec = json!({
            "digest": digest_of(&key)?, "allowedCidrs": ["203.0.113.0/24"],
            "scope": {"kubernetesExec": {"namespaces": ["web"]}},
        });
        self.own.declare(&name, &spec).await?;
        self.own.key_with_reason(&name, "Active").await?;
        Ok(Denied { key, uses: AtomicU32::new(0) })
    }

    async fn change(&self, _: &CrashStage, denied: &Denied) -> Result<()> {
        for _ in 0..DENIALS {
            if !self.present(denied).await? {
                break;
            }
        }
        Ok(())
    }

    /// What was not written down is to be done again; what was, counts.
    async fn again(&self, _: &CrashStage, denied: &Denied) -> Result<()> {
        while self.status(denied).await?.lock.is_none() {
            let before = told(&self.status(denied).await?, ADDRESS_DENIED);
            ensure!(before < DENIALS, "{before} denials do not lock the key");
            ensure!(self.present(denied).await?, "no answer");
        }
        Ok(())
    }

    async fn done(&self, _: &CrashStage, denied: &Denied) -> Result<Seen<()>> {
        let status = self.status(denied).await?;
        let uid = uid(&self.own, &denied.key.name).await?;
        let left = (bound_in(&self.own, &uid).await?, anchors(&self.own, &uid).await?);
        let is_done = status.state == Some(ApiKeyState::Locked) && left.0.is_empty() && left.1.is_empty();
        Ok(if is_done { Seen::Done(()) } else { Seen::NotYet(format!("{:?}, {left:?}", status.state)) })
    }

    async fn check(&self, _: &CrashStage, denied: &Denied) -> Result<()> {
        let (own, key) = (&self.own, &denied.key);
        let status = self.status(denied).await?;
        let uses = denied.uses.load(Ordering::Relaxed);
        // A kill comes before a denial was written, at most: then that use is as if it had not been.
        ensure!(
            (3..=4).contains(&uses) && told(&status, ADDRESS_DENIED) == DENIALS,
            "{uses} uses: {status:?}"
        );
        let newest = status.security_events.first().context("an event")?;
        ensure!(status.lock.is_some_and(|lock| lock.locked_at == newest.time), "{newest:?}");
        ensure!(self.present(denied).await?, "no answer");

        let spec = json!({"unlockedAt": now(), "allowedCidrs": ["127.0.0.0/8"]});
        own.patch_key(&key.name, &spec.to_string()).await?;
        own.key_with_reason(&key.name, "Active").await?;
        until_answered(own, key, 200).await?;
        ensure_verifies(own, &key.name, key, None).await?;
        // Counted uses are written a moment later: not in the next run.
        until("the uses to be written down", PATIENCE, || async {
            let status = self.status(denied).await?;
            ensure!(status.lock.is_none() && told(&status, ADDRESS_DENIED) == DENIALS, "{status:?}");
            let count = status.usage.map_or(0, |usage| usage.count);
            let is_told = count >= 2 && status.security_events.iter().any(|event| event.reason == LOCKED);
            Ok(if is_told { Seen::Done(()) } else { Seen::NotYet(format!("{count} uses")) })
        })
        .await
    }
}

#[tokio::test]
async fn a_lock_killed_at_any_write_comes_with_the_third_denial_and_an_unlock_brings_all_back() -> Result<()>
{
    let stage = CrashStage::start(Mode::All, |_| {}).await?;
    let own = Tenant::named(stage.cluster(), stage.keyplane(), "crash-lock").await?;
    own.namespace("web").await?;
    // Three denials, the RoleBinding, the anchor and the status.
    survives(&stage, &Lock { own, names: AtomicU32::new(0) }, 6).await
}
