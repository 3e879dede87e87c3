//! kubectl does what needs the user's own rights: every way to log in to a cluster that kubectl knows works here as well.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Args;
use zeroize::Zeroizing;

use crate::failure::{Failure, FailureKind};

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
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}

impl KubectlArgs {
    /// Runs kubectl with these and the given arguments, with `input` on its standard input, and gives what it printed.
    ///
    /// # Errors
    /// [`FailureKind::Kubectl`] with kubectl's own last words, when it cannot be started or fails.
    pub fn run(&self, args: &[&str], input: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let failed = |what: String, remedy: &str| Failure::new(FailureKind::Kubectl, what, "kubectl", remedy);
        let no_kubectl = |error: io::Error| {
            failed(
                format!("kubectl cannot be started: {error}"),
                "put kubectl on PATH; its version must be 1.28 or later",
            )
        };
        let mut command = Command::new("kubectl");
        command.args(self.global()).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn().map_err(no_kubectl)?;
        if let (Some(bytes), Some(mut stdin)) = (input, child.stdin.take()) {
            // kubectl that ends without reading says why on its standard error.
            let _ = stdin.write_all(bytes);
        }
        let output = child.wait_with_output().map_err(no_kubectl)?;
        let printed = Zeroizing::new(output.stdout);
        if output.status.success() {
            return Ok(printed);
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let words = words.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
        Err(failed(
            words.strip_prefix("error: ").unwrap_or(words).to_owned(),
            "check the context with kubectl config current-context, and your rights with kubectl auth can-i",
        ))
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
