//! `ssh-key add`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::public_key::{self, PublicKey};
use crate::argument_values::{patience, ssh_key_name};
use crate::failure::{Failure, FailureKind};
use crate::kubectl::KubectlArgs;
use crate::output::line;
use crate::resources::condition::Condition;
use crate::resources::ssh_key::{RESOURCE, SshKey, type_and_key};
use crate::typed_command::{self, word};
use crate::wait;

/// What Keyplane says of a key that it registered and has nothing to say about.
const PLAIN: &str = "the key is registered";

const HELP: &str = "\
Give the public key: the file that ends in .pub. A private key is refused here,
and sent nowhere.

Examples:
  kubectl-keyplane ssh-key add --namespace acme
  kubectl-keyplane ssh-key add ~/.ssh/work.pub --name work --namespace acme
  ssh-add -L | head -1 | kubectl-keyplane ssh-key add - --namespace acme";

/// The arguments of `ssh-key add`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct AddArgs {
    /// The public key, or - for standard input [default: your own in ~/.ssh]
    pub file: Option<PathBuf>,
    /// Which cluster and namespace.
    #[command(flatten)]
    pub kubectl: KubectlArgs,
    /// Name of the `SshKey` [default: from the key's comment]
    #[arg(long, value_parser = ssh_key_name)]
    pub name: Option<String>,
    /// What people call the key
    #[arg(long, value_name = "TEXT")]
    pub display_name: Option<String>,
    /// Make it the account's default key
    #[arg(long)]
    pub default: bool,
    /// How long to wait for Keyplane, such as 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = patience)]
    pub timeout: u64,
}

/// Registers the key unless it is registered already, and waits for Keyplane's verdict.
///
/// # Errors
/// As [`super::run`].
pub fn run(args: &AddArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    let key = public_key::read(args.file.as_deref())?;
    let found = registered(args.kubectl.list(RESOURCE, false)?, key.line());
    let is_old = found.is_some();
    let created: SshKey = if let Some(found) = found {
        found
    } else {
        let name = args.name.clone().unwrap_or_else(|| key.default_name());
        args.kubectl.create(&manifest(args, &name, &key))?
    };
    let name = created.metadata.name.clone();
    let limit = Duration::from_secs(args.timeout);
    let waited = wait::until("Keyplane's verdict", limit, terminal, || {
        let found: SshKey = args.kubectl.get(RESOURCE, &name)?;
        let is_same = found.metadata.uid == created.metadata.uid;
        let answered = found.ready().is_some_and(|ready| !ready.is_passing());
        Ok((answered || !is_same).then_some(found))
    })?;
    let failed = |what: String, remedy: String| Err(Failure::new(FailureKind::Kubectl, what, &name, remedy));
    let Some(found) = waited else {
        return failed(
            format!("the SshKey is declared, but Keyplane has not answered within {} s", args.timeout),
            format!(
                "watch it with {} --watch",
                typed_command::kubectl(&format!("get sshkey {}", word(&name)), &args.kubectl)
            ),
        );
    };
    let Some(ready) = found.ready().filter(|_| found.metadata.uid == created.metadata.uid) else {
        return failed(
            "somebody else replaced the SshKey meanwhile".to_owned(),
            format!("look at it with {}", typed_command::keyplane("ssh-key list", &args.kubectl)),
        );
    };
    if !ready.is_true() {
        return failed(
            format!("the key is not registered ({}): {}", ready.reason, ready.message),
            format!(
                "mend what the message names, or remove it: {}",
                typed_command::keyplane(&format!("ssh-key remove {}", word(&name)), &args.kubectl)
            ),
        );
    }
    let which = found.in_short();
    let default = if found.status.default { "; it is the account's default key" } else { "" };
    if is_old {
        line(out, &format!("The key is already registered as {name}: {which}{default}."))?;
    } else {
        line(out, &format!("SshKey {name} is registered: {which}{default}."))?;
    }
    // A registered key may come with a warning.
    if ready.message == PLAIN { Ok(()) } else { line(out, &ready.message) }
}

/// The `SshKey` that holds this public key, whatever its comment; before others one that is registered.
fn registered(mut keys: Vec<SshKey>, line: &str) -> Option<SshKey> {
    let wanted = type_and_key(line)?;
    keys.retain(|key| type_and_key(&key.spec.public_key) == Some(wanted));
    let best = keys.iter().position(|key| key.ready().is_some_and(Condition::is_true)).unwrap_or_default();
    keys.into_iter().nth(best)
}

fn manifest(args: &AddArgs, name: &str, key: &PublicKey) -> Value {
    let mut spec = Map::new();
    spec.insert("publicKey".to_owned(), key.line().into());
    if let Some(text) = &args.display_name {
        spec.insert("displayName".to_owned(), text.as_str().into());
    }
    if args.default {
        spec.insert("default".to_owned(), true.into());
    }
    json!({
        "apiVersion": "keyplane.dev/v1alpha1",
        "kind": "SshKey",
        "metadata": {"name": name},
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_whatever_its_name_and_comment() {
        let ready = |status: &str| json!({"conditions": [{"type": "Ready", "status": status}]});
        let keys: Vec<SshKey> = serde_json::from_value(json!([
            {"metadata": {"name": "other"}, "spec": {"publicKey": "ssh-ed25519 BBBB me"}},
            {"metadata": {"name": "twice"}, "spec": {"publicKey": "ssh-ed25519 AAAA"}, "status": ready("False")},
            {"metadata": {"name": "work"}, "spec": {"publicKey": "ssh-ed25519 AAAA a"}, "status": ready("True")},
        ]))
        .unwrap();
        let name = |line: &str| registered(keys.clone(), line).map(|key| key.metadata.name);
        assert_eq!(name("ssh-ed25519  AAAA me@home"), Some("work".to_owned()));
        assert_eq!(name("ssh-rsa AAAA"), None);
        assert_eq!(name("ssh-ed25519"), None);
    }
}
