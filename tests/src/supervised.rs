//! A program that ends with us.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};

use crate::launch::Launch;
use crate::ports::{PortTaken, taken_according_to};
use crate::processes;
use crate::waiting::{PATIENCE, Seen, until};

/// A running program under `supervise`: it is stopped when this is dropped, and when this process ends in any
/// way at all.
#[derive(Debug)]
pub struct Supervised {
    launch: Launch,
    supervise: PathBuf,
    instance: PathBuf,
    ending: Ending,
    running: Mutex<Running>,
}

/// How a program is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As Kubernetes does: SIGTERM, and SIGKILL when it has not ended within five seconds.
    InOrder,
    /// At once: what it was working on is thrown away with it.
    AtOnce,
}

#[derive(Debug)]
struct Running {
    supervisor: Child,
    pid: u32,
}

impl Supervised {
    /// Starts the program; `instance` is held as in use until it has ended.
    ///
    /// # Errors
    /// When the program does not start. What it says goes to its log.
    pub async fn start(supervise: &Path, instance: &Path, launch: Launch, ending: Ending) -> Result<Self> {
        let running = spawn(supervise, instance, &launch, ending).await?;
        Ok(Self {
            launch,
            supervise: supervise.to_path_buf(),
            instance: instance.to_path_buf(),
            ending,
            running: Mutex::new(running),
        })
    }

    /// How it was started; its log is there.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// The program's process id (not its supervisor's).
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running().pid
    }

    /// Fails when the program has ended, with the end of its log; [`PortTaken`] when that was the reason.
    ///
    /// # Errors
    /// The program has ended.
    pub fn check_running(&self) -> Result<()> {
        let mut running = self.running();
        let status = match running.supervisor.try_wait()? {
            Some(status) => status,
            None if processes::runs(running.pid) => return Ok(()),
            // The supervisor is about to notice.
            None => running.supervisor.wait()?,
        };
        Err(ended(&self.launch, status))
    }

    /// Ends the program with SIGKILL, as the kernel's out-of-memory killer would, and waits until it is gone.
    ///
    /// # Errors
    /// When it had ended before.
    pub fn kill_9(&self) -> Result<()> {
        let mut running = self.running();
        processes::kill_9(running.pid).with_context(|| format!("{} had ended before", self.launch.name))?;
        running.supervisor.wait()?;
        Ok(())
    }

    /// Stops the program and waits until it is gone.
    pub fn stop(&self) {
        self.begin_stop();
        let _ = self.running().supervisor.wait();
    }

    /// Begins to stop the program without waiting for it: several stop in the time of the slowest.
    pub fn begin_stop(&self) {
        drop(self.running().supervisor.stdin.take());
    }

    /// Stops the program if it runs, and starts it again with the same arguments.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&self) -> Result<()> {
        self.stop();
        let fresh = spawn(&self.supervise, &self.instance, &self.launch, self.ending).await?;
        *self.running() = fresh;
        Ok(())
    }

    /// The state outlives a panic of another thread: stopping must work then above all.
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn spawn(supervise: &Path, instance: &Path, launch: &Launch, ending: Ending) -> Result<Running> {
    let grace = match ending {
        Ending::InOrder => "5s",
        Ending::AtOnce => "0s",
    };
    let how = ["--grace".into(), grace.into(), "--instance".into(), instance.as_os_str().to_owned()];
    let mut supervisor = launch
        .under(supervise, &how as &[OsString])?
        .stdin(Stdio::piped())
        // Ctrl-C reaches the whole group of a terminal's program; ours stop when we end, and in our order.
        .process_group(0)
        .spawn()
        .with_context(|| format!("{} does not start", supervise.display()))?;
    let supervisor_state = Mutex::new(&mut supervisor);
    let pid = until(&format!("{} to start", launch.name), PATIENCE, || async {
        if let Some(pid) = launch.pid() {
            return Ok(Seen::Done(pid));
        }
        match supervisor_state.lock().unwrap_or_else(PoisonError::into_inner).try_wait()? {
            None => Ok(Seen::NotYet("no process id yet".to_owned())),
            Some(status) => Err(ended(launch, status)),
        }
    })
    .await?;
    Ok(Running { supervisor, pid })
}

fn ended(launch: &Launch, status: ExitStatus) -> anyhow::Error {
    if taken_according_to(&launch.last_words()) {
        return PortTaken { program: launch.name.clone() }.into();
    }
    anyhow::anyhow!("{} has ended ({status}); {}", launch.name, launch.last_words())
}

/// Fails when one of the programs has ended.
///
/// # Errors
/// One of them has ended.
pub fn check_all_running<'a>(programs: impl IntoIterator<Item = &'a Supervised>) -> Result<()> {
    for program in programs {
        if let Err(error) = program.check_running() {
            bail!(error);
        }
    }
    Ok(())
}
