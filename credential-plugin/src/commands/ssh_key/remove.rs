//! `ssh-key remove`.

use std::io::Write;

use clap::Args;

use crate::argument_values::ssh_key_name;
use crate::confirmation::Question;
use crate::failure::Failure;
use crate::kubectl::KubectlArgs;
use crate::output::line;
use crate::resources::api_key::{self, ApiKey};
use crate::resources::ssh_key::{RESOURCE, SshKey};
use crate::verbose;

const HELP: &str = "\
A key that is sealed to it goes on working, but is rotated no more until an SSH
key of the name is registered again.

Examples:
  kubectl-keyplane ssh-key remove work --namespace acme
  kubectl-keyplane ssh-key remove work --namespace acme --yes";

/// The arguments of `ssh-key remove`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct RemoveArgs {
    /// Name of the `SshKey`
    #[arg(value_parser = ssh_key_name)]
    pub name: String,
    /// Which cluster and namespace.
    #[command(flatten)]
    pub kubectl: KubectlArgs,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// Removes the key once it was confirmed, and tells which it was and whose keys are sealed to it.
///
/// # Errors
/// As [`super::run`], and [`FailureKind::Usage`](crate::failure::FailureKind::Usage) when it was not confirmed.
pub fn run(args: &RemoveArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    let RemoveArgs { name, kubectl, .. } = args;
    let key: SshKey = kubectl.get(RESOURCE, name)?;
    let which = key.in_short();
    // Who may not list the keys may still remove this one.
    let keys = kubectl.list::<ApiKey>(api_key::RESOURCE, false).unwrap_or_else(|failure| {
        verbose::note(format_args!("whose keys are sealed to it is not known: {failure}"));
        Vec::new()
    });
    let sealed = sealed_to(&keys, name);
    if !sealed.is_empty() {
        let list = sealed.join(", ");
        let warning = format!(
            "warning: sealed to SshKey {name}: {list}. They go on working, but are rotated no more until it is registered again."
        );
        line(terminal, &warning)?;
    }
    if !args.yes {
        let what = format!("SshKey {name} ({which}) will be removed.");
        Question { name, what: &what, verb: "remove" }.ask(terminal)?;
    }
    kubectl.run(&["delete", "--timeout=30s", "--", RESOURCE, name], None)?;
    line(out, &format!("SshKey {name} is removed: {which}."))
}

/// The names of the live keys that are sealed to the `SshKey`.
fn sealed_to<'a>(keys: &'a [ApiKey], name: &str) -> Vec<&'a str> {
    let is_sealed = |key: &&ApiKey| {
        let delivery = key.spec.delivery.as_ref();
        let recipient = delivery.and_then(|delivery| delivery.sealed_to.as_ref());
        !key.is_over() && recipient.is_some_and(|recipient| recipient.ssh_key == name)
    };
    keys.iter().filter(is_sealed).map(|key| key.metadata.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_live_keys_that_are_sealed_to_it_are_named() {
        let sealed = json!({"sealedTo": {"sshKey": "work"}});
        let keys: Vec<ApiKey> = serde_json::from_value(json!([
            {"metadata": {"name": "oncall"}, "spec": {"delivery": sealed}},
            {"metadata": {"name": "over"}, "spec": {"delivery": sealed, "revoked": true}},
            {"metadata": {"name": "other"}, "spec": {"delivery": {"sealedTo": {"sshKey": "home"}}}},
            {"metadata": {"name": "own"}},
        ]))
        .unwrap();
        assert_eq!(sealed_to(&keys, "work"), ["oncall"]);
    }
}
