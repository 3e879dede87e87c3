//! A program that goes on when we have ended.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::launch::{Launch, last_words};
use crate::ports::{PortTaken, taken_according_to};
use crate::processes;
use crate::waiting::{PATIENCE, Seen, until};

/// The process that was started for `launch`, if it still runs. The command line must mention the launch's
/// directory: the id in the pid file may belong to somebody else's program by now.
pub(crate) fn running(launch: &Launch) -> Option<u32> {
    launch.pid().filter(|&pid| processes::runs_for(pid, &marker(&launch.dir)))
}

/// With its final slash, so that `target/dev` is not taken for `target/dev-of-another-day`.
fn marker(dir: &Path) -> PathBuf {
    dir.join("")
}

/// Starts the program in a session of its own, unless it runs already. Says whether it was started.
///
/// # Errors
/// When it does not start.
pub(crate) fn ensure(supervise: &Path, launch: &Launch) -> Result<bool> {
    if running(launch).is_some() {
        return Ok(false);
    }
    let log = launch.log_file();
    if log.exists() {
        // What the last start said must not pass for what this one says.
        std::fs::rename(&log, log.with_extension("log.previous"))?;
    }
    let status = launch
        .under(supervise, &["--detach".into()])?
        .status()
        .with_context(|| format!("{} does not start", supervise.display()))?;
    if !status.success() {
        bail!("{} does not start; {}", launch.name, last_words(&log));
    }
    Ok(true)
}

/// Fails when one of the programs has ended; [`PortTaken`] when that was the reason.
///
/// # Errors
/// One of them has ended.
pub(crate) fn check_running(launches: &[&Launch]) -> Result<()> {
    for launch in launches {
        if running(launch).is_none() {
            let words = launch.last_words();
            if taken_according_to(&words) {
                return Err(PortTaken { program: launch.name.clone() }.into());
            }
            bail!("{} has ended; {words}", launch.name);
        }
    }
    Ok(())
}

/// Stops the process whose id the pid file holds, if it is still the one that was started for `dir`.
/// Says whether there was one.
///
/// # Errors
/// When it cannot be signalled or does not end.
pub(crate) async fn stop(dir: &Path, name: &str) -> Result<bool> {
    let launch =
        Launch { name: name.to_owned(), program: "".into(), arguments: Vec::new(), dir: dir.to_path_buf() };
    let Some(pid) = running(&launch) else {
        return Ok(false);
    };
    processes::terminate(pid)?;
    let ended = || async {
        let runs = processes::runs_for(pid, &marker(dir));
        Ok(if runs { Seen::NotYet(format!("process {pid} runs")) } else { Seen::Done(()) })
    };
    if until(&format!("the end of {name}"), std::time::Duration::from_secs(5), ended).await.is_err() {
        processes::kill_9(pid)?;
        until(&format!("the end of {name}"), PATIENCE, ended).await?;
    }
    Ok(true)
}
