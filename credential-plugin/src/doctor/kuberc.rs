//! kuberc, kubectl's preferences: whether kubectl takes them at all, and what they say of credential plugins.
//!
//! The rules are kubectl's own: `pkg/kuberc` of k8s.io/kubectl, and `ValidatePluginPolicy` of k8s.io/client-go.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::doctor::finding::Finding;
use crate::doctor::programs::{PLUGIN, Release};
use crate::doctor::shell::quoted_path;
use crate::kubeconfig::home::home_folder;
use crate::private_file::read_bounded;

const CHECK: &str = "kuberc";
/// The variable that names the file, or switches it off.
const VARIABLE: &str = "KUBERC";
/// Bytes of the file that are read.
const FILE_MAX: u64 = 1024 * 1024;
/// The API group of the preferences.
const GROUP: &str = "kubectl.config.k8s.io/";
/// The version of the group that has no policy.
const WITHOUT_POLICY: &str = "kubectl.config.k8s.io/v1alpha1";
/// The first kubectl that follows a policy.
pub const FIRST_WITH_POLICY: Release = Release { major: 1, minor: 35 };

/// What kuberc says of credential plugins. Both may be missing: then all may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `credentialPluginPolicy`
    pub kind: String,
    /// `credentialPluginAllowlist`: the commands.
    pub allowlist: Option<Vec<String>>,
}

impl Policy {
    /// Why kubectl refuses every command with such a policy; none when it takes it.
    #[must_use]
    pub fn defect(&self) -> Option<String> {
        match (self.kind.as_str(), self.allowlist.as_deref()) {
            ("Allowlist", Some(list)) if list.iter().any(String::is_empty) => {
                Some("credentialPluginAllowlist has an empty entry".to_owned())
            }
            ("" | "AllowAll" | "DenyAll", None) | ("Allowlist", Some([_, ..])) => None,
            ("" | "AllowAll" | "DenyAll", Some(_)) => Some(
                "there is a credentialPluginAllowlist, and credentialPluginPolicy is not Allowlist"
                    .to_owned(),
            ),
            ("Allowlist", None | Some([])) => {
                Some("credentialPluginPolicy is Allowlist, and credentialPluginAllowlist is empty".to_owned())
            }
            (other, _) => Some(format!("credentialPluginPolicy is {other:?}, which kubectl does not know")),
        }
    }

    /// What the file has to say to allow one more command, as a person types it.
    #[must_use]
    pub fn lines_with(&self, command: &str, field: &str) -> String {
        let others = self.allowlist.iter().flatten().map(String::as_str);
        let entries: Vec<String> = others
            .filter(|other| !other.is_empty() && *other != command)
            .chain([command])
            .map(|command| format!("{{{field}: {command:?}}}"))
            .collect();
        format!("credentialPluginPolicy: Allowlist and credentialPluginAllowlist: [{}]", entries.join(", "))
    }
}

/// The file of preferences, as kubectl would look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubercSeen {
    /// `KUBERC=off`
    Off,
    /// There is none at its usual place.
    Absent,
    /// It cannot be read, or holds no preferences.
    Unusable {
        /// Its path.
        path: PathBuf,
        /// Why.
        why: String,
        /// Whether `KUBERC` names it; then kubectl does nothing without it.
        named: bool,
    },
    /// It says this.
    Says {
        /// Its path.
        path: PathBuf,
        /// What it says.
        policy: Policy,
    },
}

impl KubercSeen {
    pub(super) fn observe() -> Self {
        Self::look(env::var_os(VARIABLE).as_deref(), home_folder().as_deref())
    }

    /// Looks for the file, for this value of `KUBERC` and this home folder.
    #[must_use]
    pub fn look(variable: Option<&OsStr>, home: Option<&Path>) -> Self {
        if variable == Some(OsStr::new("off")) {
            return Self::Off;
        }
        let named = variable.filter(|value| !value.is_empty()).map(PathBuf::from);
        let is_named = named.is_some();
        let Some(path) = named.or_else(|| Some(home?.join(".kube").join("kuberc"))) else {
            return Self::Absent;
        };
        let unusable = |why| Self::Unusable { path: path.clone(), why, named: is_named };
        match File::open(&path).and_then(|file| read_bounded(file, FILE_MAX)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => Self::Absent,
            Err(error) => unusable(error.to_string()),
            Ok(bytes) => match parse(&String::from_utf8_lossy(&bytes)) {
                Some(policy) => Self::Says { path, policy },
                None => unusable("it holds no preferences that kubectl knows".to_owned()),
            },
        }
    }

    /// What it says of credential plugins, when kubectl follows it.
    #[must_use]
    pub const fn policy(&self) -> Option<&Policy> {
        match self {
            Self::Says { policy, .. } => Some(policy),
            _ => None,
        }
    }

    /// Whether kubectl, of this release, does anything at all with it.
    #[must_use]
    pub fn judge(&self, kubectl: Option<Release>) -> Finding {
        match self {
            Self::Off => Finding::ok(CHECK, "switched off by KUBERC=off"),
            Self::Absent => Finding::ok(CHECK, "there is none: kubectl has no preferences"),
            Self::Unusable { path, why, named: true } => Finding::problem(
                CHECK,
                format!("kubectl does nothing without {}, which KUBERC names: {why}", path.display()),
                platform::UNSET,
            ),
            Self::Unusable { path, why, named: false } => Finding::hint(
                CHECK,
                format!("kubectl does not use {}: {why}", path.display()),
                Some(&format!("mend it, or remove it: rm {}", quoted_path(path))),
            ),
            Self::Says { path, policy } => match policy.defect() {
                Some(defect) if kubectl.is_none_or(|release| release >= FIRST_WITH_POLICY) => {
                    Finding::problem(
                        CHECK,
                        format!(
                            "kubectl refuses every command, kubectl kuberc set too: in {} {defect}",
                            path.display()
                        ),
                        format!("let the file say {}", policy.lines_with(PLUGIN, "command")),
                    )
                }
                _ => Finding::ok(CHECK, path.display().to_string()),
            },
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Preference {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    credential_plugin_policy: Option<String>,
    #[serde(default)]
    credential_plugin_allowlist: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    command: Option<String>,
}

/// The policy in the first document that holds preferences; an empty file holds empty ones.
#[must_use]
pub fn parse(text: &str) -> Option<Policy> {
    let documents: Vec<Preference> = serde_saphyr::from_multiple(text).ok()?;
    if documents.is_empty() {
        return Some(Policy::default());
    }
    let found = documents
        .into_iter()
        .find(|document| document.kind == "Preference" && document.api_version.starts_with(GROUP))?;
    if found.api_version == WITHOUT_POLICY {
        return Some(Policy::default());
    }
    let commands = |entries: Vec<Entry>| {
        entries.into_iter().map(|entry| entry.command.or(entry.name).unwrap_or_default()).collect()
    };
    Some(Policy {
        kind: found.credential_plugin_policy.unwrap_or_default(),
        allowlist: found.credential_plugin_allowlist.map(commands),
    })
}

#[cfg(not(windows))]
mod platform {
    pub(super) const UNSET: &str = "unset KUBERC";
}

#[cfg(windows)]
mod platform {
    pub(super) const UNSET: &str = "Remove-Item Env:KUBERC";
}
