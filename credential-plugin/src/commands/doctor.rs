//! `doctor`: looks for what keeps kubectl from working, and says what to do about it.

use std::env;
use std::io::{self, IsTerminal as _, Write};
use std::mem;

use clap::Args;

use crate::doctor::examination::examine;
use crate::doctor::finding::{Finding, Outcome};
use crate::failure::{Failure, FailureKind};
use crate::output::{self, OutputFormat};
use crate::target::TargetArgs;

/// Columns of the names of checks: the longest has as many letters.
const CHECK_WIDTH: usize = 19;

const HELP: &str = "\
It looks at what kubectl would do in the kubeconfig's current context, in this order: the programs on PATH, kuberc, the \
kubeconfig, the key, the exchange, the token cache, and the API server with a token. With --server it looks at that \
exchange alone.
Each line is ok, problem (with what to do), or -: it is only good to know, or cannot be checked before something else is \
mended; checks that wait for the same thing are one line. The exit code is 1 when there is a problem. No key and no token \
is ever shown.
--timeout is for all of it. JSON is an array of {check, outcome, found, remedy} with each check; an outcome is ok, \
problem, hint or not-checked.

Examples:
  kubectl keyplane doctor
  kubectl keyplane doctor --context prod-acme-web
  kubectl-keyplane doctor --output json
  kubectl-keyplane doctor --server https://keyplane.example.com \\
    --key-file ~/.config/keyplane/key";

/// The arguments of `doctor`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct DoctorArgs {
    /// Which exchange, key and cache.
    #[command(flatten)]
    pub target: TargetArgs,
    /// The form of the report
    #[arg(long, short, value_enum, default_value_t)]
    pub output: OutputFormat,
}

/// Writes the report to `out`: as a table each line as soon as it is known. A warning goes to `terminal`.
///
/// # Errors
/// [`FailureKind::Local`] when there is a problem, or when the output cannot be written.
pub fn run(args: &DoctorArgs, out: &mut impl Write, terminal: &mut impl Write) -> Result<(), Failure> {
    let mut findings = Vec::new();
    let coloured = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut table = Table { coloured, held: Vec::new() };
    examine(&args.target, terminal, &mut |finding| {
        if args.output == OutputFormat::Table {
            table.tell(&finding, out).map_err(|error| Failure::output(&error))?;
        }
        findings.push(finding);
        Ok(())
    })?;
    match args.output {
        OutputFormat::Json => output::json(&findings, out)?,
        OutputFormat::Table => table.tell_held(out).map_err(|error| Failure::output(&error))?,
    }
    let mut problems: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.outcome == Outcome::Problem)
        .map(|finding| finding.check)
        .collect();
    let count = problems.len();
    problems.dedup();
    match count {
        0 => Ok(()),
        count => Err(Failure::new(
            FailureKind::Local,
            format!("doctor found {count} problem{}", if count == 1 { "" } else { "s" }),
            problems.join(", "),
            "do what the report says, the first thing first, and run doctor again",
        )),
    }
}

/// The report for people. What is not checked for one reason is one line.
struct Table {
    coloured: bool,
    /// What is not checked for one reason, and not told yet.
    held: Vec<Finding>,
}

impl Table {
    fn tell(&mut self, finding: &Finding, out: &mut impl Write) -> io::Result<()> {
        if self.held.first().is_some_and(|held| held.found != finding.found) {
            self.tell_held(out)?;
        }
        if finding.outcome == Outcome::NotChecked {
            self.held.push(finding.clone());
            return Ok(());
        }
        self.write(finding, finding.check, out)
    }

    fn tell_held(&mut self, out: &mut impl Write) -> io::Result<()> {
        let held = mem::take(&mut self.held);
        match held.as_slice() {
            [] => Ok(()),
            [finding] => self.write(finding, finding.check, out),
            [first, ..] => {
                let names: Vec<&str> = held.iter().map(|finding| finding.check).collect();
                let found = format!("{} ({})", first.found, names.join(", "));
                let whole = Finding { found, ..first.clone() };
                self.write(&whole, &format!("{} checks", held.len()), out)
            }
        }
    }

    fn write(&self, finding: &Finding, check: &str, out: &mut impl Write) -> io::Result<()> {
        let (mark, colour) = match finding.outcome {
            Outcome::Ok => ("ok", "\x1b[32m"),
            Outcome::Problem => ("problem", "\x1b[31m"),
            Outcome::Hint | Outcome::NotChecked => ("-", ""),
        };
        let mark = format!("{mark:7}");
        let mark = if self.coloured && !colour.is_empty() { format!("{colour}{mark}\x1b[0m") } else { mark };
        writeln!(out, "{mark}   {check:CHECK_WIDTH$}   {}", finding.found)?;
        if let Some(remedy) = &finding.remedy {
            writeln!(out, "{:7}   {:CHECK_WIDTH$}   -> {remedy}", "", "")?;
        }
        out.flush()
    }
}
