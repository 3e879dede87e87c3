//! A home folder, a key and a clean environment for one test.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use keyplane_core::key_format::{KeyType, PlaintextKey};
use serde_json::Value;
use tempfile::TempDir;

use crate::stand_in::StandIn;

pub(crate) struct Stage {
    pub home: TempDir,
    pub key: String,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { home: TempDir::new().unwrap(), key: new_key() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file with this mode, where there are modes, and gives its path as text.
    pub(crate) fn file(&self, name: &str, content: &str, mode: u32) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        set_mode(&path, mode);
        path.to_str().unwrap().to_owned()
    }

    /// The variables that say where the home folder is, and those without which the system runs no program.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        platform::environment(self.home.path())
    }

    /// The plugin with an environment that holds nothing but the home folder.
    pub(crate) fn plugin(&self) -> Command {
        let mut command = Command::cargo_bin("kubectl-keyplane").unwrap();
        command.env_clear().envs(self.environment()).current_dir(self.home.path());
        command
    }

    /// `get-token` with the key in the environment, against this exchange and its CA.
    pub(crate) fn get_token(&self, exchange: &StandIn) -> Command {
        let ca = self.file("ca.pem", &exchange.ca, 0o644);
        let mut command = self.plugin();
        command.env("KEYPLANE_API_KEY", &self.key).args([
            "get-token",
            "--server",
            &exchange.url,
            "--certificate-authority",
            &ca,
        ]);
        command
    }

    pub(crate) fn cache_folder(&self) -> PathBuf {
        self.path(platform::CACHE_FOLDER)
    }

    /// The folder of the keys that login keeps.
    pub(crate) fn kept_folder(&self) -> PathBuf {
        self.path(platform::KEPT_FOLDER)
    }

    /// A key command that prints a file.
    pub(crate) fn prints(file: &str) -> String {
        platform::prints(file)
    }

    /// The only cached token's file.
    pub(crate) fn cache_file(&self) -> PathBuf {
        self.cache_file_ending("json")
    }

    /// The only file in the cache with this ending.
    pub(crate) fn cache_file_ending(&self, end: &str) -> PathBuf {
        let mut files = files_in(&self.cache_folder());
        files.retain(|file| file.extension().is_some_and(|extension| extension == end));
        assert_eq!(files.len(), 1, "one identity, one file: {files:?}");
        files[0].clone()
    }

    /// The files of all cached tokens.
    pub(crate) fn cached_tokens(&self) -> Vec<PathBuf> {
        let mut files = files_in(&self.cache_folder());
        files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
        files
    }

    /// Changes the only cached file with this ending, which holds JSON.
    pub(crate) fn edit_cached(&self, end: &str, change: impl Fn(&mut Value)) {
        let file = self.cache_file_ending(end);
        let mut content: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        change(&mut content);
        fs::write(&file, content.to_string()).unwrap();
    }
}

pub(crate) fn new_key() -> String {
    PlaintextKey::generate(&KeyType::account(), getrandom::fill).unwrap().expose().to_owned()
}

pub(crate) fn files_in(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default()
}

/// Whether the file or folder has this mode. Where there are no modes, the profile folder's access list stands for them.
pub(crate) fn has_mode(path: &Path, mode: u32) -> bool {
    assert!(path.exists(), "{path:?}");
    platform::mode(path).is_none_or(|found| found == mode)
}

/// Gives the file or folder this mode, where there are modes.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    platform::set_mode(path, mode);
}

/// The credential of a run that succeeded, and was silent on stderr.
pub(crate) fn credential(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "silent on success: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The one line on stderr of a run that failed with this code, and wrote nothing to stdout.
pub(crate) fn failure(output: &Output, code: i32) -> String {
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(line.matches('\n').count(), 1, "exactly one line: {line:?}");
    assert!(line.starts_with("kubectl-keyplane: ") && line.ends_with('\n'), "{line:?}");
    assert!(line.contains("; "), "says what to do: {line:?}");
    line
}

#[cfg(unix)]
mod platform {
    use std::ffi::OsString;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    pub(super) const CACHE_FOLDER: &str = ".cache/keyplane";
    pub(super) const KEPT_FOLDER: &str = ".config/keyplane/keys";

    pub(super) fn environment(home: &Path) -> Vec<(&'static str, OsString)> {
        vec![("HOME", home.into())]
    }

    pub(super) fn prints(file: &str) -> String {
        format!("cat '{file}'")
    }

    #[expect(clippy::unnecessary_wraps, reason = "not every platform has modes")]
    pub(super) fn mode(path: &Path) -> Option<u32> {
        Some(fs::metadata(path).unwrap().permissions().mode() & 0o7777)
    }

    pub(super) fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[cfg(windows)]
mod platform {
    use std::env;
    use std::ffi::OsString;
    use std::path::Path;

    pub(super) const CACHE_FOLDER: &str = r"AppData\Local\keyplane";
    pub(super) const KEPT_FOLDER: &str = r"AppData\Local\keyplane\keys";

    pub(super) fn environment(home: &Path) -> Vec<(&'static str, OsString)> {
        // Sockets and random numbers need the one, and `cmd` the other.
        let kept = ["SystemRoot", "ComSpec"].map(|name| env::var_os(name).map(|value| (name, value)));
        let mut variables: Vec<_> = kept.into_iter().flatten().collect();
        variables.push(("USERPROFILE", home.into()));
        variables.push(("LOCALAPPDATA", home.join(r"AppData\Local").into()));
        variables
    }

    pub(super) fn prints(file: &str) -> String {
        format!("cmd /d /c type '{file}'")
    }

    pub(super) const fn mode(_: &Path) -> Option<u32> {
        None
    }

    pub(super) const fn set_mode(_: &Path, _: u32) {}
}
