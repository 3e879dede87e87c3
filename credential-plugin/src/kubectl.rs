//! kubectl does what needs the user's own rights: every way to log in to a cluster that kubectl knows works here as well.

mod error_message;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use self::error_message::ErrorMessage;
pub use self::error_message::has_no_context;
use crate::argument_values::namespace_name;
use crate::environment::KEY_VARIABLE;
use crate::failure::{Failure, FailureKind};
use crate::resources::List;
use crate::typed_command::word;
use crate::verbose;

/// What ends kubectl's flags. A name stands after it: whatever it begins with, it is read as no flag.
const NO_MORE_FLAGS: &str = "--";
/// How long kubectl waits for one answer of the API server.
const REQUEST_TIMEOUT: &str = "--request-timeout=20s";

/// The argument whose value is a part of an object.
const PATCH: &str = "--patch=";

/// Which cluster and namespace, as kubectl's own arguments of these names.
#[derive(Args, Clone, Debug, Default)]
pub struct KubectlArgs {
    /// The kubeconfig [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// The namespace [default: the context's]
    #[arg(long, short, value_name = "NAMESPACE", value_parser = namespace_name)]
    pub namespace: Option<String>,
}

/// What came of a change that asked for a certain state before it.
#[derive(Debug)]
pub enum Patched<T> {
    /// It was made; the object as it is now.
    Done(T),
    /// Somebody else changed or replaced the object meanwhile; nothing was done.
    Conflict,
}

/// A change of which it was not seen that it was made.
#[derive(Debug)]
pub struct FailedChange {
    /// Why.
    pub failure: Failure,
    /// Whether it certainly was not made: the API server refused it, or was not asked.
    pub is_certain: bool,
}

impl From<FailedChange> for Failure {
    fn from(failed: FailedChange) -> Self {
        failed.failure
    }
}

impl From<Failure> for FailedChange {
    fn from(failure: Failure) -> Self {
        Self { failure, is_certain: false }
    }
}

impl KubectlArgs {
    /// The object of this name.
    ///
    /// # Errors
    /// [`FailureKind::Kubectl`], also when there is none.
    pub fn get<T: DeserializeOwned>(&self, resource: &str, name: &str) -> Result<T, Failure> {
        read(&self.run(&["get", "--output=json", REQUEST_TIMEOUT, NO_MORE_FLAGS, resource, name], None)?)
    }

    /// The objects of the namespace, or of all of them.
    ///
    /// # Errors
    /// [`FailureKind::Kubectl`].
    pub fn list<T: DeserializeOwned>(&self, resource: &str, all_namespaces: bool) -> Result<Vec<T>, Failure> {
        let all = format!("--all-namespaces={all_namespaces}");
        let list: List<T> =
            read(&self.run(&["get", resource, "--output=json", &all, REQUEST_TIMEOUT], None)?)?;
        Ok(list.items)
    }

    /// Makes an object of this manifest.
    ///
    /// # Errors
    /// [`FailureKind::Kubectl`], also when there is one of its name.
    pub fn create<T: DeserializeOwned>(&self, manifest: &Value) -> Result<T, FailedChange> {
        let input = manifest.to_string().into_bytes();
        let args = ["create", "--filename=-", "--output=json", REQUEST_TIMEOUT];
        match self.attempt(&args, Some(&input)).map_err(NotRun::of_change)? {
            Ok(printed) => Ok(read(&printed)?),
            Err(message) => {
                let is_certain = message.is_refusal_to_create();
                Err(FailedChange { failure: message.failure(self), is_certain })
            }
        }
    }

    /// Changes an object by a JSON merge patch. A patch that names the object's `uid` or `resourceVersion` changes no other.
    ///
    /// # Errors
    /// [`FailureKind::Kubectl`], but not for a [`Patched::Conflict`].
    pub fn merge_patch<T: DeserializeOwned>(
        &self,
        resource: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Patched<T>, FailedChange> {
        let patch = format!("{PATCH}{patch}");
        let flags = ["patch", "--type=merge", &patch, "--output=json", REQUEST_TIMEOUT];
        let args = [flags.as_slice(), &[NO_MORE_FLAGS, resource, name]].concat();
        match self.attempt(&args, None).map_err(NotRun::of_change)? {
            Ok(printed) => Ok(Patched::Done(read(&printed)?)),
            Err(message) if message.is_conflict() => {
                verbose::note("the object was changed by somebody else since it was read");
                Ok(Patched::Conflict)
            }
            Err(message) => {
                let is_certain = message.is_refusal();
                Err(FailedChange { failure: message.failure(self), is_certain })
            }
        }
    }

    /// Runs kubectl with these and the given arguments, with `input` on its standard input, and gives what it printed.
    /// Nothing among the arguments may come from elsewhere unchecked: it could be read as a flag.
    ///
    /// # Errors
    /// [`FailureKind::Kubectl`] with kubectl's own last words, when it cannot be started or fails.
    pub fn run(&self, args: &[&str], input: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let ended = self.attempt(args, input).map_err(NotRun::into_failure)?;
        ended.map_err(|message| message.failure(self))
    }

    /// What kubectl printed, or what it said where it failed.
    fn attempt(
        &self,
        args: &[&str],
        input: Option<&[u8]>,
    ) -> Result<Result<Zeroizing<Vec<u8>>, ErrorMessage>, NotRun> {
        let mut command = Command::new("kubectl");
        command.args(self.global()).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        if args.first() == Some(&"config") {
            // Reading a kubeconfig needs no key. What asks the cluster may: its user may be this very plugin.
            command.env_remove(KEY_VARIABLE);
        }
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        verbose::note(format_args!("runs {}", self.shown(args)));
        let started = Instant::now();
        let mut child = command.spawn().map_err(NotRun::NotStarted)?;
        if let (Some(bytes), Some(mut stdin)) = (input, child.stdin.take()) {
            // kubectl that ends without reading says why on its standard error.
            let _ = stdin.write_all(bytes);
        }
        let output = child.wait_with_output().map_err(NotRun::Lost)?;
        let code = output
            .status
            .code()
            .map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
        verbose::note(format_args!("kubectl ended with {code} after {} ms", started.elapsed().as_millis()));
        let printed = Zeroizing::new(output.stdout);
        if output.status.success() {
            return Ok(Ok(printed));
        }
        Ok(Err(ErrorMessage::of(&output.stderr)))
    }

    /// The command for a person: what goes into an object is not shown.
    fn shown(&self, args: &[&str]) -> String {
        let global = self.global();
        let words = global.iter().map(|arg| arg.to_string_lossy()).chain(args.iter().map(|&arg| arg.into()));
        let words = words.map(|arg| if arg.starts_with(PATCH) { format!("{PATCH}...") } else { word(&arg) });
        let command: Vec<String> = std::iter::once("kubectl".to_owned()).chain(words).collect();
        // A kubeconfig is read whole.
        let asks_a_cluster = args.first() != Some(&"config");
        let place = if asks_a_cluster && self.context.is_none() {
            ", in the kubeconfig's current context"
        } else {
            ""
        };
        format!("{}{place}", command.join(" "))
    }

    fn global(&self) -> Vec<OsString> {
        let mut args = Vec::new();
        let mut add = |name: &str, value: OsString| args.extend([OsString::from(name), value]);
        if let Some(path) = &self.kubeconfig {
            add("--kubeconfig", path.into());
        }
        if let Some(context) = &self.context {
            add("--context", context.into());
        }
        if let Some(namespace) = &self.namespace {
            add("--namespace", namespace.into());
        }
        args
    }
}

/// kubectl did not come to its end.
enum NotRun {
    NotStarted(io::Error),
    Lost(io::Error),
}

impl NotRun {
    fn into_failure(self) -> Failure {
        let (what, remedy) = match self {
            Self::NotStarted(error) => (
                format!("kubectl cannot be started: {error}"),
                "put kubectl on PATH; its version must be 1.28 or later",
            ),
            Self::Lost(error) => {
                (format!("what kubectl says cannot be read: {error}"), "run the command again")
            }
        };
        Failure::new(FailureKind::Kubectl, what, "kubectl", remedy)
    }

    fn of_change(self) -> FailedChange {
        let is_certain = matches!(self, Self::NotStarted(_));
        FailedChange { failure: self.into_failure(), is_certain }
    }
}

fn read<T: DeserializeOwned>(printed: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(printed).map_err(|error| {
        // serde's text would show what was in the object; where it went wrong is enough.
        Failure::new(
            FailureKind::Kubectl,
            format!("kubectl printed what is no object of Keyplane (line {})", error.line()),
            "kubectl",
            "put a kubectl of version 1.28 or later on PATH",
        )
    })
}
