//! The program `kubectl-keyplane`: reads its arguments, runs the command, and tells a failure in one line.

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::CommandFactory as _;
use keyplane_credential_plugin::cli::{self, Cli, Command, Parsed};
use keyplane_credential_plugin::failure::{Failure, FailureKind};
use keyplane_credential_plugin::{generate, get_token, kubeconfig};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(failure) => {
            // Where even this cannot be written, the exit code still tells.
            let _ = writeln!(io::stderr(), "kubectl-keyplane: {failure}");
            ExitCode::from(failure.kind().exit_code())
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    match cli::parse(env::args_os())? {
        Parsed::Text(text) => out.write_all(text.as_bytes()).map_err(|error| Failure::output(&error)),
        Parsed::NothingAsked(help) => {
            let _ = io::stderr().write_all(help.as_bytes());
            return Ok(ExitCode::from(FailureKind::Usage.exit_code()));
        }
        Parsed::Command(Command::GetToken(args)) => get_token::run(&args, &mut out),
        Parsed::Command(Command::Generate(args)) => generate::run(&args, &mut out, &mut io::stderr()),
        Parsed::Command(Command::Kubeconfig(args)) => kubeconfig::run(&args, &mut out, &mut io::stderr()),
        Parsed::Command(Command::Completion(args)) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "kubectl-keyplane", &mut script);
            out.write_all(&script).map_err(|error| Failure::output(&error))
        }
    }?;
    Ok(ExitCode::SUCCESS)
}
