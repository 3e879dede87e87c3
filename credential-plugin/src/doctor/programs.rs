//! The programs: this plugin on PATH, kubectl, and the completion of one by the other.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::Deserialize;

use crate::doctor::finding::Finding;
use crate::doctor::search_path;
use crate::doctor::time_limit::TimeLimit;

/// This program's name.
pub const PLUGIN: &str = "kubectl-keyplane";
/// What kubectl asks for completions of `kubectl keyplane`.
const COMPLETION: &str = "kubectl_complete-keyplane";
/// The oldest kubectl that is supported.
const OLDEST: Release = Release { major: 1, minor: 28 };

/// A release of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// The 1 of 1.36.
    pub major: u32,
    /// The 36 of 1.36.
    pub minor: u32,
}

impl Release {
    /// The release in a version such as `v1.36.3`.
    #[must_use]
    pub fn of(version: &str) -> Option<Self> {
        let mut parts = version.strip_prefix('v')?.split('.');
        Some(Self { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

/// The program that PATH gives first for this plugin's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstOnPath {
    /// Its path.
    pub path: PathBuf,
    /// Whether it is the program that runs, or a copy of it.
    pub is_this: bool,
    /// What it says its version is, when it is another.
    pub version: Option<String>,
}

/// This plugin on PATH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSeen {
    /// The program that runs.
    pub running: PathBuf,
    /// Its version.
    pub version: &'static str,
    /// The first on PATH.
    pub first: Option<FirstOnPath>,
}

impl PluginSeen {
    pub(super) fn observe(limit: TimeLimit) -> Self {
        let running = env::current_exe().unwrap_or_else(|_| PathBuf::from(PLUGIN));
        let first = search_path::all(PLUGIN).into_iter().next().map(|path| {
            let is_this = is_same_program(&path, &running);
            let version = if is_this { None } else { version_of(&path, limit) };
            FirstOnPath { path, is_this, version }
        });
        Self { running, version: env!("CARGO_PKG_VERSION"), first }
    }

    /// Whether kubectl, and a kubeconfig that calls the plugin by name, get this program.
    #[must_use]
    pub fn judge(&self) -> Finding {
        const CHECK: &str = "plugin";
        let (running, version) = (self.running.display(), self.version);
        let folder = self.running.parent().unwrap_or(Path::new("."));
        let Some(first) = &self.first else {
            return Finding::problem(
                CHECK,
                format!("{running} (version {version}) is not on PATH: kubectl does not find it by its name"),
                platform::put_first(folder),
            );
        };
        let path = first.path.display();
        if first.is_this {
            return Finding::ok(CHECK, format!("{path} is on PATH, version {version}"));
        }
        let other = first.version.as_deref().unwrap_or("unknown");
        let found = format!(
            "kubectl starts {path} (version {other}), not this program {running} (version {version})"
        );
        if first.version.as_deref() == Some(version) {
            return Finding::hint(CHECK, found, None);
        }
        Finding::problem(CHECK, found, format!("remove the other one, or: {}", platform::put_first(folder)))
    }
}

/// Two paths to one file, or to two of the same content, as package managers install copies.
fn is_same_program(one: &Path, other: &Path) -> bool {
    let same_file = fs::canonicalize(one).ok().is_some_and(|one| Some(one) == fs::canonicalize(other).ok());
    let len = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.len());
    same_file
        || (len(one) == len(other) && fs::read(one).ok().is_some_and(|one| Some(one) == fs::read(other).ok()))
}

fn version_of(program: &Path, limit: TimeLimit) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version");
    let output = run(command, limit)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.trim().strip_prefix(PLUGIN).map(|version| version.trim().to_owned())
}

fn run(mut command: Command, limit: TimeLimit) -> Option<Output> {
    command.stdin(Stdio::null());
    limit.within(move || command.output())?.ok()
}

/// kubectl, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubectlSeen {
    /// There is none on PATH.
    Missing,
    /// It does not start, or says nothing of use; its last words.
    Broken(PathBuf, String),
    /// It says this version.
    Version(PathBuf, String),
}

impl KubectlSeen {
    pub(super) fn observe(limit: TimeLimit) -> Self {
        let Some(path) = search_path::all("kubectl").into_iter().next() else {
            return Self::Missing;
        };
        let mut command = Command::new(&path);
        // Preferences that kubectl refuses are a check of their own.
        command.args(["version", "--client", "--output", "json"]).env("KUBERC", "off");
        let Some(output) = run(command, limit) else {
            return Self::Broken(path, "it does not start, or does not end".to_owned());
        };
        if let Ok(version) = serde_json::from_slice::<Version>(&output.stdout) {
            return Self::Version(path, version.client_version.git_version);
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.lines().rfind(|line| !line.trim().is_empty());
        Self::Broken(path, last.unwrap_or("it does not say its version").to_owned())
    }

    /// Its release, when that is known.
    #[must_use]
    pub fn release(&self) -> Option<Release> {
        match self {
            Self::Version(_, version) => Release::of(version),
            _ => None,
        }
    }

    /// Whether it can call exec plugins of version 1.
    #[must_use]
    pub fn judge(&self) -> Finding {
        const CHECK: &str = "kubectl";
        const INSTALL: &str = "install kubectl 1.28 or later: https://kubernetes.io/docs/tasks/tools/";
        match self {
            Self::Missing => Finding::problem(CHECK, "there is no kubectl on PATH", INSTALL),
            Self::Broken(path, words) => {
                Finding::problem(CHECK, format!("{} cannot be used: {words}", path.display()), INSTALL)
            }
            Self::Version(path, version) => match Release::of(version) {
                Some(release) if release < OLDEST => Finding::problem(
                    CHECK,
                    format!("{} is of version {version}, which is too old", path.display()),
                    INSTALL,
                ),
                _ => Finding::ok(CHECK, format!("{}, version {version}", path.display())),
            },
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    client_version: ClientVersion,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientVersion {
    git_version: String,
}

/// Whether kubectl completes `kubectl keyplane`; `folder` is where this program is, as a person knows it.
#[must_use]
pub fn judge_completion(program: Option<&Path>, folder: &Path) -> Finding {
    const CHECK: &str = "completion";
    if let Some(path) = program {
        return Finding::ok(CHECK, format!("{} is on PATH", path.display()));
    }
    Finding::hint(
        CHECK,
        format!("{COMPLETION} is not on PATH: kubectl does not complete kubectl keyplane"),
        platform::make_completion(&folder.join(COMPLETION)).as_deref(),
    )
}

pub(super) fn completion(plugin: &PluginSeen) -> Finding {
    let program = search_path::all(COMPLETION).into_iter().next();
    // A package manager's link is on PATH; what it leads to changes with each version.
    let on_path = plugin.first.as_ref().filter(|first| first.is_this).map(|first| &first.path);
    let this = on_path.unwrap_or(&plugin.running);
    judge_completion(program.as_deref(), this.parent().unwrap_or(Path::new(".")))
}

#[cfg(not(windows))]
mod platform {
    use std::path::Path;

    use crate::doctor::shell::quoted_path;

    pub(super) fn put_first(folder: &Path) -> String {
        format!("export PATH={}:\"$PATH\"", quoted_path(folder))
    }

    #[expect(clippy::unnecessary_wraps, reason = "not every platform has one command for it")]
    pub(super) fn make_completion(program: &Path) -> Option<String> {
        let file = quoted_path(program);
        Some(format!("kubectl-keyplane completion kubectl > {file} && chmod +x {file}"))
    }
}

#[cfg(windows)]
mod platform {
    use std::path::Path;

    pub(super) fn put_first(folder: &Path) -> String {
        format!("$env:Path = '{};' + $env:Path", folder.display().to_string().replace('\'', "''"))
    }

    pub(super) fn make_completion(_: &Path) -> Option<String> {
        None
    }
}
