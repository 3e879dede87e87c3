//! A key that Keyplane makes and hands over: whatever is killed, its owner gets one, and that one works.

use anyhow::Result;
use keyplane_tests::crash_points::{CrashStage, Scenario};
use keyplane_tests::tenant::SshKeyPair;
use keyplane_tests::waiting::Seen;

use super::Theatre;
use super::afterwards::{delivered, ensure_verifies, has_version};
use crate::delivery::{sealed_to, to_secret};

/// A key is delivered into a Secret.
struct IntoASecret<'a>(&'a Theatre);

impl Scenario for IntoASecret<'_> {
    type Prepared = String;

    fn name(&self) -> &'static str {
        "delivery into a Secret"
    }

    async fn prepare(&self, _: &CrashStage) -> Result<String> {
        Ok(self.0.name())
    }

    async fn change(&self, _: &CrashStage, name: &String) -> Result<()> {
        self.0.own.declare(name, &to_secret(name)).await
    }

    async fn done(&self, _: &CrashStage, name: &String) -> Result<Seen<()>> {
        Ok(has_version(&self.0.own.stored_key(name).await?, 1))
    }

    async fn check(&self, _: &CrashStage, name: &String) -> Result<()> {
        let key = delivered(&self.0.own, name).await?;
        ensure_verifies(&self.0.own, name, &key, None).await
    }
}

/// A key is sealed to an SSH key.
struct Sealed<'a> {
    theatre: &'a Theatre,
    laptop: SshKeyPair,
}

impl Scenario for Sealed<'_> {
    type Prepared = String;

    fn name(&self) -> &'static str {
        "delivery sealed to an SSH key"
    }

    async fn prepare(&self, _: &CrashStage) -> Result<String> {
        Ok(self.theatre.name())
    }

    async fn change(&self, _: &CrashStage, name: &String) -> Result<()> {
        self.theatre.own.declare(name, &sealed_to("laptop")).await
    }

    async fn done(&self, _: &CrashStage, name: &String) -> Result<Seen<()>> {
        Ok(has_version(&self.theatre.own.stored_key(name).await?, 1))
    }

    async fn check(&self, _: &CrashStage, name: &String) -> Result<()> {
        let own = &self.theatre.own;
        let key = own.unsealed_key(name, &self.laptop.private_file).await?;
        ensure_verifies(own, name, &key, None).await
    }
}

/// The finalizer, the ServiceAccount, the RoleBinding, "pending", the key itself, "live", the anchor and the status.
const LEAST_WRITES: usize = 8;

#[tokio::test]
async fn a_delivery_killed_at_any_write_ends_with_one_key_in_one_secret_that_works() -> Result<()> {
    let theatre = Theatre::open("crash-secret").await?;
    theatre.survives(&IntoASecret(&theatre), LEAST_WRITES).await
}

#[tokio::test]
async fn a_sealed_delivery_killed_at_any_write_ends_with_a_key_that_its_owner_can_open() -> Result<()> {
    let theatre = Theatre::open("crash-sealed").await?;
    let laptop = theatre.own.ssh_key_pair("laptop", "ed25519").await?;
    theatre.own.register_ssh_key("laptop", &laptop.public).await?;
    theatre.own.wait_ready("sshkey/laptop").await?;
    theatre.survives(&Sealed { theatre: &theatre, laptop }, LEAST_WRITES).await
}
