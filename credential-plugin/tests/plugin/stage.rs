//! A home folder, a key and a clean environment for one test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
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

    /// Writes a file with this mode and gives its path as text.
    pub(crate) fn file(&self, name: &str, content: &str, mode: u32) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The plugin with an environment that holds nothing but the home folder.
    pub(crate) fn plugin(&self) -> Command {
        let mut command = Command::cargo_bin("kubectl-keyplane").unwrap();
        command.env_clear().env("HOME", self.home.path()).current_dir(self.home.path());
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
        self.path(".cache/keyplane")
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

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
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
