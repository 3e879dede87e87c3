//! The home folder as kubectl finds it.

use std::path::PathBuf;

/// The folder in which kubectl looks for `.kube`; none when the system names none.
#[must_use]
pub fn home_folder() -> Option<PathBuf> {
    platform::home_folder().filter(|home| !home.as_os_str().is_empty())
}

#[cfg(not(windows))]
mod platform {
    use std::env;
    use std::path::PathBuf;

    pub(super) fn home_folder() -> Option<PathBuf> {
        env::home_dir()
    }
}

#[cfg(windows)]
mod platform {
    use std::env;
    use std::ffi::OsString;
    use std::fs;
    use std::path::{Path, PathBuf};

    /// `HomeDir` of client-go: three variables may name it, and the first counts that holds a kubeconfig, else that can be
    /// written, else that exists, else that is set.
    pub(super) fn home_folder() -> Option<PathBuf> {
        let set = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty());
        let joined = |mut drive: OsString, path: OsString| {
            drive.push(path);
            PathBuf::from(drive)
        };
        let home = set("HOME").map(PathBuf::from);
        let profile = set("USERPROFILE").map(PathBuf::from);
        let drive_and_path = set("HOMEDRIVE").zip(set("HOMEPATH")).map(|(drive, path)| joined(drive, path));
        let holds_config = |folder: &&PathBuf| folder.join(".kube").join("config").exists();
        let first = [&home, &drive_and_path, &profile].into_iter().flatten().find(holds_config);
        let others = || [&home, &profile, &drive_and_path].into_iter().flatten();
        let found = first
            .or_else(|| others().find(|folder| is_writable(folder)))
            .or_else(|| others().find(|folder| folder.exists()))
            .or_else(|| others().next());
        found.cloned()
    }

    fn is_writable(folder: &Path) -> bool {
        fs::metadata(folder).is_ok_and(|folder| folder.is_dir() && !folder.permissions().readonly())
    }
}
