//! `completion`: a script that completes this program's arguments in a shell.

use std::io::Write;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;

const HELP: &str = "\
Examples:
  source <(kubectl-keyplane completion bash)
  kubectl-keyplane completion zsh > ~/.zfunc/_kubectl-keyplane";

/// The arguments of `completion`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct CompletionArgs {
    /// The shell
    pub shell: Shell,
}

/// Writes the shell's script to `out`.
///
/// # Errors
/// [`FailureKind::Local`](crate::failure::FailureKind::Local) for the output.
pub fn run(args: &CompletionArgs, out: &mut impl Write) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kubectl-keyplane", &mut script);
    out.write_all(&script).map_err(|error| Failure::output(&error))
}
