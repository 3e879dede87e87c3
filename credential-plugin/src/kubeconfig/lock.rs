//! kubectl's own lock on a kubeconfig: a file of the same name and `.lock`, which is there while somebody writes.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, FailureKind};
use crate::kubeconfig::file::{beside, in_real_folder, real_path};
use crate::private_file;
use crate::verbose;

/// The longest wait for another command's lock. Writing a kubeconfig takes milliseconds: a lock that stays for so long
/// was left by a command that died.
pub const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Locks on kubeconfigs, gone when this is dropped.
#[derive(Debug, Default)]
pub struct Locks(Vec<PathBuf>);

impl Locks {
    /// Locks these kubeconfigs and the files that they link to, in the order in which kubectl does, sorted, so that no two wait
    /// for each other. A file in a folder where nothing can be made is not locked: it cannot be replaced either.
    ///
    /// # Errors
    /// [`FailureKind::File`] when another command's lock stays for longer than [`PATIENCE`].
    pub fn take<'a>(configs: impl IntoIterator<Item = &'a PathBuf>) -> Result<Self, Failure> {
        let configs = configs.into_iter().flat_map(|config| [in_real_folder(config), real_path(config)]);
        let locks: BTreeSet<PathBuf> = configs.map(|config| beside(&config, ".lock")).collect();
        let deadline = Instant::now() + PATIENCE;
        let mut taken = Self::default();
        let mut own = BTreeSet::new();
        for lock in locks {
            // Where another letter case is no other name, this lock may be there already. The system knows its one name.
            if fs::canonicalize(&lock).is_ok_and(|lock| own.contains(&lock)) {
                continue;
            }
            if wait_for(&lock, deadline)? {
                own.extend(fs::canonicalize(&lock));
                taken.0.push(lock);
            }
        }
        Ok(taken)
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        for lock in &self.0 {
            drop(fs::remove_file(lock));
        }
    }
}

/// Makes the lock's file as soon as nobody has it. False where it cannot be made at all.
fn wait_for(lock: &Path, deadline: Instant) -> Result<bool, Failure> {
    let mut told = false;
    loop {
        let Err(error) = private_file::create_new(lock) else { return Ok(true) };
        if !platform::is_held(&error) {
            verbose::note(format!("{} cannot be made: {error}", lock.display()));
            return Ok(false);
        }
        if Instant::now() >= deadline {
            if error.kind() != io::ErrorKind::AlreadyExists {
                verbose::note(format!("{} cannot be made: {error}", lock.display()));
                return Ok(false);
            }
            return Err(Failure::new(
                FailureKind::File,
                format!("the kubeconfig is locked, for more than {} s", PATIENCE.as_secs()),
                lock.display().to_string(),
                "wait for the other command to end; if there is none, remove this file",
            ));
        }
        if !std::mem::replace(&mut told, true) {
            verbose::note(format!("waiting for {}", lock.display()));
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(not(windows))]
mod platform {
    use super::io;

    pub(super) fn is_held(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::AlreadyExists
    }
}

#[cfg(windows)]
mod platform {
    use super::io;

    /// A file that is just being removed gives a denial.
    pub(super) fn is_held(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::PermissionDenied)
    }
}
