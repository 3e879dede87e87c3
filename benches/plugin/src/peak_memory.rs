//! The most memory that a program held. The system counts it over all ended children of a process, so each program gets a
//! process of its own that starts nothing else: this program once more.
//!
//! A child begins as a copy of that process, whose own 2 MiB are therefore the least that can be seen.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};

use crate::start::Program;

/// Says that this process is there for one program alone.
const ONE: &str = "--peak-memory-of";

/// The most memory that the program held, in KiB.
pub(crate) fn of(program: &Program) -> Result<i64> {
    let output = Command::new(env::current_exe()?)
        .arg(ONE)
        .arg(&program.path)
        .args(&program.args)
        .env_clear()
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the memory of {} was not measured: {words}", program.name);
    String::from_utf8(output.stdout)?.trim().parse().context("a number of KiB")
}

/// The program whose memory this process is asked for.
pub(crate) fn asked_for() -> Option<Program> {
    let mut args = env::args_os().skip(1);
    if args.next()? != ONE {
        return None;
    }
    let path = PathBuf::from(args.next()?);
    let args: Vec<OsString> = args.collect();
    Some(Program { name: path.display().to_string(), path, args, env: Vec::new() })
}

/// Runs the program in this process's environment and prints the most memory it held, in KiB.
#[expect(clippy::print_stdout, reason = "the parent process reads it")]
pub(crate) fn tell(program: &Program) -> Result<()> {
    let mut command = Command::new(&program.path);
    let status = command.args(&program.args).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "{} failed", program.name);
    println!("{}", getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss());
    Ok(())
}
