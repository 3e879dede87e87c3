//! `completion`: scripts that complete this program's arguments in a shell, and after `kubectl keyplane`.

pub mod candidates;

use std::ffi::OsString;
use std::io::Write;

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use self::candidates::candidates;
use crate::cli::Cli;
use crate::failure::Failure;

const HELP: &str = "\
kubectl asks the program kubectl_complete-keyplane on PATH what to offer after
\"kubectl keyplane\". Make the script executable (chmod +x); kubectl's own
completion must be set up, and kubectl-keyplane be on PATH too.

Examples:
  source <(kubectl-keyplane completion bash)
  kubectl-keyplane completion zsh > ~/.zfunc/_kubectl-keyplane
  kubectl-keyplane completion kubectl > ~/bin/kubectl_complete-keyplane";

/// What kubectl starts: it prints what `kubectl-keyplane __complete` says of the words that were typed.
const FOR_KUBECTL: &str = "\
#!/bin/sh
# Put this file on PATH as kubectl_complete-keyplane, executable: kubectl runs it to complete `kubectl keyplane`.
exec kubectl-keyplane __complete -- \"$@\"
";

/// The arguments of `completion`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct CompletionArgs {
    /// The shell, or kubectl
    pub shell: CompletionFor,
}

/// Who completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum CompletionFor {
    /// bash.
    Bash,
    /// Elvish.
    Elvish,
    /// fish.
    Fish,
    /// kubectl itself, after `kubectl keyplane`.
    Kubectl,
    /// `PowerShell`.
    PowerShell,
    /// zsh.
    Zsh,
}

/// The arguments of `__complete`, which kubectl's completion runs.
#[derive(Args, Debug)]
pub struct CompleteArgs {
    /// The words after the program's name; the last is the one to complete, and may be empty
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

/// Writes the script to `out`.
///
/// # Errors
/// [`FailureKind::Local`](crate::failure::FailureKind::Local) for the output.
pub fn run(args: &CompletionArgs, out: &mut impl Write) -> Result<(), Failure> {
    let shell = match args.shell {
        CompletionFor::Bash => Shell::Bash,
        CompletionFor::Elvish => Shell::Elvish,
        CompletionFor::Fish => Shell::Fish,
        CompletionFor::PowerShell => Shell::PowerShell,
        CompletionFor::Zsh => Shell::Zsh,
        CompletionFor::Kubectl => {
            return out.write_all(FOR_KUBECTL.as_bytes()).map_err(|error| Failure::output(&error));
        }
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kubectl-keyplane", &mut script);
    out.write_all(&script).map_err(|error| Failure::output(&error))
}

/// Writes what the last word may be, as the programs that cobra makes do: a candidate a line, with its description after a
/// tab, and then a number that says whether files may be meant as well.
///
/// # Errors
/// [`FailureKind::Local`](crate::failure::FailureKind::Local) for the output.
pub fn complete(args: &CompleteArgs, out: &mut impl Write) -> Result<(), Failure> {
    let words: Vec<String> = args.words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let found = candidates(&words);
    let mut text = String::new();
    for candidate in &found.offered {
        text.push_str(&candidate.word);
        if !candidate.description.is_empty() {
            text.push('\t');
            text.push_str(&candidate.description);
        }
        text.push('\n');
    }
    // ShellCompDirectiveDefault and ShellCompDirectiveNoFileComp.
    text.push_str(if found.files { ":0\n" } else { ":4\n" });
    out.write_all(text.as_bytes()).map_err(|error| Failure::output(&error))
}
