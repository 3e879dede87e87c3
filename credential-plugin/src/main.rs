//! The program `kubectl-keyplane`: reads its arguments, runs the command, and tells a failure in one line.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use keyplane_credential_plugin::cli::{self, Command, Parsed};
use keyplane_credential_plugin::commands::{
    apikeys, completion, doctor, generate, get_token, kubeconfig, login, logout, reveal, ssh_key, whoami,
};
use keyplane_credential_plugin::failure::{Failure, FailureKind};
use keyplane_credential_plugin::{core_dump, sign_of_life, verbose};

fn main() -> ExitCode {
    core_dump::forbid();
    match run() {
        Ok(code) => code,
        Err(failure) => {
            if failure.is_reader_gone() {
                return ExitCode::from(failure.kind().exit_code());
            }
            // Where even this cannot be written, the exit code still tells.
            let _ = writeln!(io::stderr(), "kubectl-keyplane: {failure}");
            ExitCode::from(failure.kind().exit_code())
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    let mut terminal = io::stderr();
    let cli = match cli::parse(env::args_os())? {
        Parsed::Text(text) => {
            out.write_all(text.as_bytes()).map_err(|error| Failure::output(&error))?;
            return Ok(ExitCode::SUCCESS);
        }
        Parsed::NothingAsked(help) => {
            let _ = terminal.write_all(help.as_bytes());
            return Ok(ExitCode::from(FailureKind::Usage.exit_code()));
        }
        Parsed::Command(cli) => cli,
    };
    verbose::set(cli.verbose);
    // With --verbose the steps are told, and they would break the line.
    sign_of_life::show(
        cli.command.asks_the_exchange_for_a_person() && !cli.verbose && terminal.is_terminal(),
    );
    match &cli.command {
        Command::GetToken(args) => get_token::run(args, &mut out),
        Command::Login(args) => login::run(args, &mut out, &mut terminal),
        Command::Logout(args) => logout::run(args, &mut out, &mut terminal),
        Command::Whoami(args) => whoami::run(args, &mut out, &mut terminal),
        Command::Kubeconfig(args) => kubeconfig::run(args, &mut out, &mut terminal),
        Command::Doctor(args) => doctor::run(args, &mut out, &mut terminal),
        Command::Generate(args) => generate::run(args, &mut out, &mut terminal),
        Command::ApiKeys(args) => apikeys::run(args, &mut out, &mut terminal),
        Command::Reveal(args) => reveal::run(args, &mut out, &mut terminal),
        Command::SshKey(args) => ssh_key::run(args, &mut out, &mut terminal),
        Command::Completion(args) => completion::run(args, &mut out),
        Command::Complete(args) => completion::complete(args, &mut out),
    }?;
    Ok(ExitCode::SUCCESS)
}
