//! A key is revoked: whatever is killed, nothing is left of it but its digest, which is never accepted again.

use anyhow::{Context as _, Result, ensure};
use keyplane_crds::ApiKeyState;
use keyplane_tests::crash_points::{CrashStage, Scenario};
use keyplane_tests::tenant::HeldKey;
use keyplane_tests::waiting::Seen;
use serde_json::json;

use super::Theatre;
use super::afterwards::{anchors, bound_in, delivered, record, remembered, uid};
use crate::delivery::{digest_of, to_secret, until_answered};

struct Revocation<'a> {
    theatre: &'a Theatre,
    /// Whether Keyplane made the key.
    is_delivered: bool,
}

impl Scenario for Revocation<'_> {
    type Prepared = (String, HeldKey);

    fn name(&self) -> &'static str {
        if self.is_delivered { "revocation of a delivered key" } else { "revocation of a declared key" }
    }

    async fn prepare(&self, _: &CrashStage) -> Result<Self::Prepared> {
        let own = &self.theatre.own;
        let name = self.theatre.name();
        let key = if self.is_delivered {
            own.declare(&name, &to_secret(&name)).await?;
            own.key_with_reason(&name, "Active").await?;
            delivered(own, &name).await?
        } else {
            let both = ["--kubernetes-namespace", "web", "--kubernetes-namespace", "db"];
            own.key(&name, &both).await?
        };
        until_answered(own, &key, 200).await?;
        Ok((name, key))
    }

    async fn change(&self, _: &CrashStage, (name, _): &Self::Prepared) -> Result<()> {
        self.theatre.own.patch_key(name, r#"{"revoked":true}"#).await.map(drop)
    }

    async fn done(&self, _: &CrashStage, (name, _): &Self::Prepared) -> Result<Seen<()>> {
        let own = &self.theatre.own;
        let status = own.stored_key(name).await?.status.unwrap_or_default();
        let times = status.revocation.as_ref();
        let is_said = status.state == Some(ApiKeyState::Revoked)
            && times.is_some_and(|times| times.refused_after_millis.is_some())
            && times.is_some_and(|times| times.unbound_after_millis.is_some());
        let is_gone = record(own, &uid(own, name).await?).await?.is_none();
        let seen = || Seen::NotYet(format!("{:?}, {:?}", status.state, status.revocation));
        Ok(if is_said && is_gone { Seen::Done(()) } else { seen() })
    }

    async fn check(&self, _: &CrashStage, (name, key): &Self::Prepared) -> Result<()> {
        let own = &self.theatre.own;
        let uid = uid(own, name).await?;
        let digest = digest_of(key)?;
        let left = (bound_in(own, &uid).await?, anchors(own, &uid).await?);
        ensure!(left.0.is_empty() && left.1.is_empty(), "{left:?}");
        ensure!(remembered(own).await?.contains(&digest), "{digest} is forgotten");
        until_answered(own, key, 401).await?;

        own.kubectl.run(["delete", "apikey", name, "--namespace", &own.account, "--timeout=60s"]).await?;
        own.declare(name, &json!({"digest": digest, "scope": {"inference": true}})).await?;
        let again = own.key_with_reason(name, "DigestRevoked").await?;
        ensure!(again.status.context("a status")?.state == Some(ApiKeyState::Invalid));
        until_answered(own, key, 403).await
    }
}

#[tokio::test]
async fn a_revocation_killed_at_any_write_takes_everything_away_for_good() -> Result<()> {
    let theatre = &Theatre::open("crash-revoke").await?;
    // Two RoleBindings, the anchor, the memory, the ServiceAccount and the status; then one RoleBinding less.
    for (is_delivered, least_writes) in [(false, 6), (true, 5)] {
        let revocation = Revocation { theatre, is_delivered };
        theatre.survives(&revocation, least_writes).await?;
    }
    Ok(())
}
