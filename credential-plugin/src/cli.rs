//! What can be asked of the plugin: the commands and their help. The arguments of each stand with it.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::commands::apikeys::ApiKeysArgs;
use crate::commands::completion::{CompleteArgs, CompletionArgs};
use crate::commands::doctor::DoctorArgs;
use crate::commands::generate::GenerateArgs;
use crate::commands::get_token::GetTokenArgs;
use crate::commands::kubeconfig::KubeconfigArgs;
use crate::commands::login::LoginArgs;
use crate::commands::logout::LogoutArgs;
use crate::commands::reveal::RevealArgs;
use crate::commands::ssh_key::SshKeyArgs;
use crate::commands::whoami::WhoamiArgs;
use crate::failure::{Failure, FailureKind};

const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  the output could not be written, or the system gave no randomness; or
      doctor found a problem
   2  usage: the arguments, the exchange's address or KUBERNETES_EXEC_INFO
      cannot be used, or the cluster's extension names an exchange or a CA
      that no --allow-server allows
   3  no key: none given, unreadable, open to other users, or mistyped
   4  the exchange refused the key: it is unknown or revoked (401)
   5  the key gives no Kubernetes access, or may not be used from here (403)
   6  the exchange cannot be reached in time
   7  TLS: the exchange's certificate is not trusted, or the handshake failed
   8  the answer is not that of a Keyplane exchange, or says that it failed
   9  the exchange asks to come back later (429, 503)
  10  the token's remaining life is under 75 seconds
  11  a file, a keyring or an entry of a kubeconfig cannot be read or written,
      or something else stands there
  12  the key is locked
  13  the key has expired
  14  kubectl could not do its part

A failure is one line on standard error; get-token is silent there when it succeeds.";

/// Swaps a Keyplane API key for a short-lived cluster token, and manages keys from the terminal.
#[derive(Parser, Debug)]
#[command(name = "kubectl-keyplane", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Tell on standard error what is done
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Print a cluster token as an exec credential: what kubectl calls
    GetToken(GetTokenArgs),
    /// Keep a key on this machine, check it, and say what it may do
    Login(LoginArgs),
    /// Remove a kept key and its tokens from this machine
    Logout(LogoutArgs),
    /// Say whose key is used, what it may do, and until when
    Whoami(WhoamiArgs),
    /// Write a kubeconfig that calls this plugin
    Kubeconfig(Box<KubeconfigArgs>),
    /// Look for what keeps kubectl from working, and say what to do about it
    Doctor(DoctorArgs),
    /// Make a new key, shown once, and the `ApiKey` manifest with its digest
    Generate(GenerateArgs),
    /// List, rotate, revoke and unlock API keys
    #[command(name = "apikeys", visible_alias = "apikey")]
    ApiKeys(ApiKeysArgs),
    /// Show the key that an `ApiKey` holds sealed
    Reveal(RevealArgs),
    /// Register SSH public keys
    #[command(visible_alias = "ssh-keys")]
    SshKey(SshKeyArgs),
    /// Print a completion script for a shell, or for kubectl
    Completion(CompletionArgs),
    /// Print what the last word may be
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),
}

impl Command {
    /// Whether a person typed it, and waits for the exchange's answer: kubectl starts `get-token`.
    #[must_use]
    pub const fn asks_the_exchange_for_a_person(&self) -> bool {
        matches!(self, Self::Login(_) | Self::Whoami(_) | Self::Kubeconfig(_) | Self::Doctor(_))
    }
}

/// What came of reading the arguments.
#[derive(Debug)]
pub enum Parsed {
    /// A command to run.
    Command(Box<Cli>),
    /// A text to print: the help or the version.
    Text(String),
    /// There was no command: the help to print instead.
    NothingAsked(String),
}

/// Reads the program's arguments, its own name first.
///
/// # Errors
/// [`FailureKind::Usage`], in one line.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, Failure> {
    let args: Vec<OsString> = args.into_iter().collect();
    match Cli::try_parse_from(&args) {
        Ok(cli) => Ok(Parsed::Command(Box::new(cli))),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Parsed::Text(error.render().to_string()))
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Ok(Parsed::NothingAsked(error.render().to_string()))
        }
        Err(error) => Err(Failure::new(
            FailureKind::Usage,
            what_is_wrong(&error),
            "",
            format!("{}see kubectl-keyplane {}--help", suggestion(&error), command_of(&args)),
        )),
    }
}

/// What is wrong with the arguments. A value in a place where none belongs may be a key that was pasted there, or a part
/// of one that no longer looks like a key: it is not repeated, unlike the name of a flag.
fn what_is_wrong(error: &clap::Error) -> String {
    let arg = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) => arg.as_str(),
        _ => "",
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => "there is no such command; it is not repeated here".to_owned(),
        ErrorKind::UnknownArgument if !arg.starts_with('-') => {
            "unexpected argument; it is not repeated here".to_owned()
        }
        ErrorKind::TooManyValues => format!("unexpected value for {arg}; it is not repeated here"),
        _ => {
            let text = error.render().to_string();
            // The first paragraph says what is wrong; usage and tips follow it.
            let what = text.split("\n\n").next().unwrap_or_default();
            what.strip_prefix("error: ").unwrap_or(what).trim().to_owned()
        }
    }
}

/// The name that was probably meant: one of the program's own, never what was typed.
fn suggestion(error: &clap::Error) -> String {
    let kinds = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg];
    let is_for_people = |name: &&str| !name.starts_with("__");
    let name = kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(name) => Some(name.as_str()).filter(is_for_people),
        // The most similar one comes last.
        ContextValue::Strings(names) => names.iter().map(String::as_str).rfind(is_for_people),
        _ => None,
    });
    name.map_or_else(String::new, |name| format!("did you mean {name}? "))
}

/// The command among the arguments, down to the innermost, with a space after each, or nothing.
fn command_of(args: &[OsString]) -> String {
    let mut within = Cli::command();
    let mut names = String::new();
    for asked in args.iter().skip(1).filter_map(|arg| arg.to_str()) {
        let Some(found) = within.find_subcommand(asked).cloned() else { break };
        names.push_str(found.get_name());
        names.push(' ');
        within = found;
    }
    names
}
