//! Another key takes the place of the one before: whatever is killed, its owner has the one that works.

use anyhow::{Result, ensure};
use keyplane_tests::crash_points::{CrashStage, Scenario};
use keyplane_tests::tenant::{HeldKey, SshKeyPair};
use keyplane_tests::waiting::Seen;
use serde_json::{Value, json};

use super::afterwards::{delivered, ensure_verifies, has_version, record, remembered, uid};
use super::{Theatre, now};
use crate::delivery::{digest_of, sealed_to, to_secret, until_answered};

/// A key and what takes its place.
struct Rotated {
    name: String,
    old: HeldKey,
    /// What its maker declares next; Keyplane makes the others.
    next: Option<HeldKey>,
}

/// Where the key comes from.
enum Maker {
    /// Its holder, who declares its digest.
    Holder,
    /// Keyplane, which delivers it into a Secret.
    IntoASecret,
    /// Keyplane, which seals it to this SSH key, registered as `laptop`.
    Sealed(SshKeyPair),
}

struct Rotation<'a> {
    theatre: &'a Theatre,
    maker: Maker,
    grace_seconds: u32,
}

impl Rotation<'_> {
    /// The key as its owner has it now.
    async fn held(&self, rotated: &Rotated) -> Result<HeldKey> {
        self.handed_over(&rotated.name, rotated.next.as_ref()).await
    }

    async fn handed_over(&self, name: &str, declared: Option<&HeldKey>) -> Result<HeldKey> {
        let own = &self.theatre.own;
        match (&self.maker, declared) {
            (_, Some(declared)) => Ok(declared.clone()),
            (Maker::Sealed(laptop), None) => own.unsealed_key(name, &laptop.private_file).await,
            (_, None) => delivered(own, name).await,
        }
    }
}

impl Scenario for Rotation<'_> {
    type Prepared = Rotated;

    fn name(&self) -> &'static str {
        match (&self.maker, self.grace_seconds) {
            (Maker::Holder, _) => "rotation of a declared digest",
            (Maker::IntoASecret, 0) => "rotation in a Secret",
            (Maker::IntoASecret, _) => "rotation in a Secret with a grace period",
            (Maker::Sealed(_), _) => "rotation of a sealed key",
        }
    }

    async fn prepare(&self, _: &CrashStage) -> Result<Rotated> {
        let own = &self.theatre.own;
        let name = self.theatre.name();
        let in_web = ["--kubernetes-namespace", "web"];
        let (first, next) = match self.maker {
            Maker::Holder => {
                let first = own.key(&name, &in_web).await?;
                (Some(first), Some(own.generate(&format!("{name}-next"), &in_web).await?.0))
            }
            Maker::IntoASecret => {
                own.declare(&name, &to_secret(&name)).await?;
                (None, None)
            }
            Maker::Sealed(_) => {
                own.declare(&name, &sealed_to("laptop")).await?;
                (None, None)
            }
        };
        own.key_with_reason(&name, "Active").await?;
        let old = self.handed_over(&name, first.as_ref()).await?;
        until_answered(own, &old, 200).await?;
        Ok(Rotated { name, old, next })
    }

    async fn change(&self, _: &CrashStage, rotated: &Rotated) -> Result<()> {
        let grace = self.grace_seconds;
        let spec: Value = match &rotated.next {
            Some(next) => json!({"digest": digest_of(next)?, "rotation": {"gracePeriodSeconds": grace}}),
            None => json!({"rotation": {"requestedAt": now(), "gracePeriodSeconds": grace}}),
        };
        self.theatre.own.patch_key(&rotated.name, &spec.to_string()).await.map(drop)
    }

    async fn done(&self, _: &CrashStage, rotated: &Rotated) -> Result<Seen<()>> {
        let own = &self.theatre.own;
        if let Seen::NotYet(last) = has_version(&own.stored_key(&rotated.name).await?, 2) {
            return Ok(Seen::NotYet(last));
        }
        // What a rotation ended is remembered, and then struck off the record.
        let record = record(own, &uid(own, &rotated.name).await?).await?.unwrap_or_default();
        Ok(if record.ended.is_empty() { Seen::Done(()) } else { Seen::NotYet(format!("{record:?}")) })
    }

    async fn check(&self, _: &CrashStage, rotated: &Rotated) -> Result<()> {
        let (own, old) = (&self.theatre.own, &rotated.old);
        let live = self.held(rotated).await?;
        ensure!(live.plaintext()? != old.plaintext()?, "the same key again");
        let is_graced = self.grace_seconds > 0;
        ensure_verifies(own, &rotated.name, &live, is_graced.then_some(old)).await?;
        let is_remembered = remembered(own).await?.contains(&digest_of(old)?);
        ensure!(is_remembered != is_graced, "the old key is remembered: {is_remembered}");
        if is_graced { Ok(()) } else { until_answered(own, old, 401).await }
    }
}

/// "Pending", the key itself, "live", the new anchor and the status.
const LEAST_WRITES: usize = 5;
/// The old anchor, the memory of the old digest, and the record that need not hold it any more.
const LEAST_WRITES_ABOUT_THE_OLD: usize = 3;

#[tokio::test]
async fn a_rotation_in_a_secret_killed_at_any_write_leaves_its_owner_the_key_that_works() -> Result<()> {
    let theatre = &Theatre::open("crash-rotation").await?;
    let at_once = Rotation { theatre, maker: Maker::IntoASecret, grace_seconds: 0 };
    theatre.survives(&at_once, LEAST_WRITES + LEAST_WRITES_ABOUT_THE_OLD).await?;
    let with_a_grace = Rotation { theatre, maker: Maker::IntoASecret, grace_seconds: 3600 };
    theatre.survives(&with_a_grace, LEAST_WRITES).await
}

#[tokio::test]
async fn a_rotation_of_a_sealed_key_or_a_digest_killed_at_any_write_leaves_the_new_key_alone() -> Result<()> {
    let theatre = &Theatre::open("crash-new-key").await?;
    let declared = Rotation { theatre, maker: Maker::Holder, grace_seconds: 0 };
    // The record, the new anchor and the status.
    theatre.survives(&declared, 3 + LEAST_WRITES_ABOUT_THE_OLD).await?;
    let laptop = theatre.own.ssh_key_pair("laptop", "ed25519").await?;
    theatre.own.register_ssh_key("laptop", &laptop.public).await?;
    theatre.own.wait_ready("sshkey/laptop").await?;
    let sealed = Rotation { theatre, maker: Maker::Sealed(laptop), grace_seconds: 0 };
    theatre.survives(&sealed, LEAST_WRITES + LEAST_WRITES_ABOUT_THE_OLD).await
}
