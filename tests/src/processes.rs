//! Processes by their id: whether they run, and stopping them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Whether the process runs. A zombie does not.
#[must_use]
pub fn runs(pid: u32) -> bool {
    command_line(pid).is_some()
}

/// Whether the process runs and its command line mentions `instance`, the directory it was started for.
///
/// The kernel gives an id to another program once the first has ended, so an id alone proves nothing.
#[must_use]
pub fn runs_for(pid: u32, instance: &Path) -> bool {
    command_line(pid).is_some_and(|line| mentions(&line, instance))
}

fn mentions(command_line: &[u8], instance: &Path) -> bool {
    let wanted = instance.as_os_str().as_encoded_bytes();
    !wanted.is_empty() && command_line.windows(wanted.len()).any(|part| part == wanted)
}

/// The command line of a running process.
fn command_line(pid: u32) -> Option<Vec<u8>> {
    // It is empty for a zombie, but also for the moment in which a process becomes another program.
    for _ in 0..100 {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        if !line.is_empty() {
            return Some(line);
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        if status.lines().any(|line| line.starts_with("State:") && line.contains(['Z', 'X'])) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Some(Vec::new())
}

/// The ids of all processes whose command line mentions `instance`.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn running_for(instance: &Path) -> Result<Vec<u32>> {
    let entries = std::fs::read_dir("/proc").context("cannot read /proc")?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            // Not waiting for each empty one: the kernel's own threads are all of that kind.
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| mentions(&line, instance))
        })
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
    let pid =
        i32::try_from(pid).ok().and_then(Pid::from_raw).with_context(|| format!("{pid} is no process id"))?;
    kill_process(pid, signal).with_context(|| format!("cannot signal process {pid:?}"))
}
