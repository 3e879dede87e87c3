//! `ssh-key`: registers, lists and removes SSH public keys, with the rights that the user's own kubeconfig gives.

pub mod add;
mod public_key;
pub mod remove;

use std::io::Write;

use clap::{Args, Subcommand};

use self::add::AddArgs;
use self::remove::RemoveArgs;
use crate::failure::Failure;
use crate::kubectl::KubectlArgs;
use crate::output::{self, OutputFormat, line};
use crate::resources::ssh_key::{RESOURCE, SshKey};
use crate::typed_command;

const HELP: &str = "\
Examples:
  kubectl-keyplane ssh-key add --namespace acme
  kubectl-keyplane ssh-key add ~/.ssh/work.pub --name work --namespace acme
  kubectl-keyplane ssh-key list --namespace acme";

/// The arguments of `ssh-key`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct SshKeyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SshKeyCommand,
}

/// What can be done with SSH keys.
#[derive(Subcommand, Debug)]
pub enum SshKeyCommand {
    /// Register a public key
    Add(AddArgs),
    /// List the registered keys
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Remove a registered key
    Remove(RemoveArgs),
}

/// The arguments of `ssh-key list`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  kubectl-keyplane ssh-key list --namespace acme")]
pub struct ListArgs {
    /// Which cluster and namespace.
    #[command(flatten)]
    pub kubectl: KubectlArgs,
    /// The form of the list
    #[arg(long, short, value_name = "FORM", default_value = "table")]
    pub output: OutputFormat,
}

/// Does what is asked.
///
/// # Errors
/// [`FailureKind::Usage`](crate::failure::FailureKind::Usage) for what is no public key,
/// [`FailureKind::Kubectl`](crate::failure::FailureKind::Kubectl) for what kubectl or Keyplane did not do,
/// [`FailureKind::Local`](crate::failure::FailureKind::Local) for the output.
pub fn run(args: &SshKeyArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    match &args.command {
        SshKeyCommand::Add(args) => add::run(args, out, terminal),
        SshKeyCommand::List(args) => list(args, out),
        SshKeyCommand::Remove(args) => remove::run(args, out, terminal),
    }
}

fn list(args: &ListArgs, out: &mut impl Write) -> Result<(), Failure> {
    let keys: Vec<SshKey> = args.kubectl.list(RESOURCE, false)?;
    let reason = |key: &SshKey| key.ready().map_or_else(|| "-".to_owned(), |ready| ready.reason.clone());
    if args.output == OutputFormat::Json {
        let told: Vec<serde_json::Value> = keys
            .iter()
            .map(|key| {
                serde_json::json!({
                    "namespace": key.metadata.namespace,
                    "name": key.metadata.name,
                    "type": key.status.type_,
                    "fingerprint": key.status.fingerprint,
                    "default": key.status.default,
                    "reason": key.ready().map(|ready| &ready.reason),
                })
            })
            .collect();
        return output::json(&told, out);
    }
    if keys.is_empty() {
        let place = typed_command::looked_in(&args.kubectl, false);
        return line(out, &format!("No SSH keys found in {place}."));
    }
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            vec![
                key.metadata.name.clone(),
                or_none(&key.status.type_),
                or_none(&key.status.fingerprint),
                if key.status.default { "yes" } else { "no" }.to_owned(),
                reason(key),
            ]
        })
        .collect();
    output::table(&["NAME", "TYPE", "FINGERPRINT", "DEFAULT", "REASON"], &rows, out)
}
