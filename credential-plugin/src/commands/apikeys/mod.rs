//! `apikeys`: lists, rotates, revokes and unlocks keys, with the rights that the user's own kubeconfig gives.

pub mod list;
pub mod patch;
pub mod revoke;
pub mod rotate;
pub mod unlock;

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};

use self::list::ListArgs;
use self::revoke::RevokeArgs;
use self::rotate::RotateArgs;
use self::unlock::UnlockArgs;
use crate::argument_values::{key_name, patience};
use crate::failure::{Failure, FailureKind};
use crate::kubectl::KubectlArgs;
use crate::resources::api_key::{ApiKey, RESOURCE};
use crate::resources::event::newest_warning;
use crate::typed_command;

const HELP: &str = "\
kubectl does it, with your own rights: an owner of the account may do all of it.

Examples:
  kubectl-keyplane apikeys list --namespace acme
  kubectl-keyplane apikeys rotate ci --namespace acme --grace 24h \\
    --key-out ci.key
  kubectl-keyplane apikeys revoke ci --namespace acme";

/// The arguments of `apikeys`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct ApiKeysArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ApiKeysCommand,
}

/// What can be done with keys.
#[derive(Subcommand, Debug)]
pub enum ApiKeysCommand {
    /// List keys: what they may do, when they end, when they were last used
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Replace a key by a new one
    Rotate(RotateArgs),
    /// End a key for good
    Revoke(RevokeArgs),
    /// Lift the lock of a key that was used from elsewhere
    Unlock(UnlockArgs),
}

/// Which key, and how long to wait for Keyplane.
#[derive(Args, Clone, Debug)]
pub struct OneKeyArgs {
    /// Name of the `ApiKey`
    #[arg(value_parser = key_name)]
    pub name: String,
    /// Which cluster and namespace.
    #[command(flatten)]
    pub kubectl: KubectlArgs,
    /// How long to wait for Keyplane, such as 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = patience)]
    pub timeout: u64,
}

impl OneKeyArgs {
    /// The key as it is now.
    fn get(&self) -> Result<ApiKey, Failure> {
        self.kubectl.get(RESOURCE, &self.name)
    }

    /// The key as it is now, if it is still the same: not another one of its name.
    fn look(&self, uid: &str) -> Result<ApiKey, Failure> {
        let key = self.get()?;
        if key.metadata.uid == uid {
            return Ok(key);
        }
        Err(self.changed())
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// Somebody else was there at the same time.
    fn changed(&self) -> Failure {
        Failure::new(
            FailureKind::Kubectl,
            "somebody else changed or replaced the ApiKey meanwhile",
            &self.name,
            format!(
                "look at it with {}, and run the command again",
                typed_command::keyplane("apikeys list", &self.kubectl)
            ),
        )
    }

    /// Keyplane did not do its part in time; `state` says what is certain.
    /// A warning of Keyplane about the key says why, where there is one.
    fn late(&self, state: &str, key: &ApiKey) -> Failure {
        let Self { name, kubectl, timeout } = self;
        let look = typed_command::kubectl(&format!("get apikey {name}"), kubectl);
        if let Some(warning) = newest_warning(kubectl, &key.metadata.uid) {
            return Failure::new(
                FailureKind::Kubectl,
                format!("{state}, but is not done after {timeout} s{}", warning.told()),
                name,
                format!(
                    "mend what the warning names, then it goes on by itself; watch it with {look} --watch"
                ),
            );
        }
        Failure::new(
            FailureKind::Kubectl,
            format!("{state}, but Keyplane has not answered within {timeout} s"),
            name,
            format!(
                "watch it with {look} --watch; if nothing changes, look at the log of keyplane controller"
            ),
        )
    }
}

/// Does what is asked.
///
/// # Errors
/// [`FailureKind::Kubectl`] for what kubectl or Keyplane did not do, [`FailureKind::Usage`] for what cannot be asked,
/// [`FailureKind::File`] for a new key's file, [`FailureKind::Local`] for the output.
pub fn run(args: &ApiKeysArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    match &args.command {
        ApiKeysCommand::List(args) => list::run(args, out),
        ApiKeysCommand::Rotate(args) => rotate::run(args, out, terminal),
        ApiKeysCommand::Revoke(args) => revoke::run(args, out, terminal),
        ApiKeysCommand::Unlock(args) => unlock::run(args, out, terminal),
    }
}
