//! Processes by their id: whether they run, and stopping them.

use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Whether the process runs and its command line mentions `instance`, the directory it was started for.
///
/// The kernel gives an id to another program once the first has ended, so an id alone proves nothing.
/// A zombie, whose command line is empty, does not run.
#[must_use]
pub fn runs_for(pid: u32, instance: &Path) -> bool {
    let Ok(cmdline) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let wanted = instance.as_os_str().as_encoded_bytes();
    !wanted.is_empty() && cmdline.windows(wanted.len()).any(|part| part == wanted)
}

/// The ids of all processes whose command line mentions `instance`.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn running_for(instance: &Path) -> Result<Vec<u32>> {
    let entries = std::fs::read_dir("/proc").context("cannot read /proc")?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| runs_for(pid, instance))
        .collect())
}

/// Asks the process to end.
///
/// # Errors
/// When it is not ours to signal, or gone.
pub fn terminate(pid: u32) -> Result<()> {
    signal(pid, Signal::TERM)
}

/// Ends the process without letting it do anything more.
///
/// # Errors
/// When it is not ours to signal, or gone.
pub fn kill_9(pid: u32) -> Result<()> {
    signal(pid, Signal::KILL)
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).with_context(|| format!("{pid} is no process id"))?;
    kill_process(pid, signal).with_context(|| format!("cannot signal process {pid:?}"))
}
