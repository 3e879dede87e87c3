//! Whether kuberc lets kubectl call this plugin, and the command that makes it do so.

use std::path::{Path, PathBuf};

use crate::doctor::finding::Finding;
use crate::doctor::kuberc::{FIRST_WITH_POLICY, Policy};
use crate::doctor::programs::Release;
use crate::doctor::search_path;
use crate::doctor::shell::{quoted, quoted_path};

/// The first kubectl whose `kubectl kuberc set` has a section for plugins.
const FIRST_THAT_SETS: Release = Release { major: 1, minor: 36 };

/// What kubectl compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySeen {
    /// The policy.
    pub policy: Policy,
    /// The file that holds it, when there is one.
    pub file: Option<PathBuf>,
    /// kubectl's release.
    pub kubectl: Option<Release>,
    /// The command as the kubeconfig has it.
    pub command: String,
    /// The program that it starts.
    pub program: Option<PathBuf>,
    /// The programs that the allowlist's commands start, in its order.
    pub listed: Vec<Option<PathBuf>>,
}

impl PolicySeen {
    pub(super) fn observe(
        policy: &Policy,
        file: Option<&Path>,
        kubectl: Option<Release>,
        command: &str,
    ) -> Self {
        let listed = policy.allowlist.iter().flatten().map(|entry| search_path::resolve(entry)).collect();
        Self {
            policy: policy.clone(),
            file: file.map(Path::to_owned),
            kubectl,
            command: command.to_owned(),
            program: search_path::resolve(command),
            listed,
        }
    }

    fn is_listed(&self) -> bool {
        let program = self.program.as_deref();
        let texts = self.policy.allowlist.iter().flatten();
        texts.zip(&self.listed).any(|(entry, resolved)| {
            let entry = Path::new(entry);
            let same_name = program.and_then(Path::file_name) == entry.file_name();
            entry == Path::new(&self.command)
                || program == Some(entry)
                || (same_name && program.is_some() && resolved.as_deref() == program)
        })
    }

    /// Whether kubectl calls the command.
    #[must_use]
    pub fn judge(&self) -> Finding {
        const CHECK: &str = "plugin-policy";
        if self.kubectl.is_some_and(|release| release < FIRST_WITH_POLICY) {
            return Finding::ok(CHECK, "this kubectl calls every credential plugin");
        }
        let found = match self.policy.kind.as_str() {
            "DenyAll" => {
                "kuberc's credentialPluginPolicy is DenyAll: kubectl calls no credential plugin".to_owned()
            }
            "Allowlist" if !self.is_listed() => {
                format!(
                    "kuberc's credentialPluginAllowlist does not name {}: kubectl does not call it",
                    self.command
                )
            }
            "Allowlist" => return Finding::ok(CHECK, format!("kuberc's allowlist names {}", self.command)),
            _ => return Finding::ok(CHECK, "kubectl may call every credential plugin"),
        };
        Finding::problem(CHECK, found, self.allowing())
    }

    /// The command that adds this plugin to the allowlist. It replaces the list, so it names the others as well.
    fn allowing(&self) -> String {
        if self.kubectl.is_some_and(|release| release < FIRST_THAT_SETS) {
            let file = self.file.as_deref().map_or_else(|| "~/.kube/kuberc".to_owned(), quoted_path);
            return format!("let {file} say {}", self.policy.lines_with(&self.command, "name"));
        }
        let others = self.policy.allowlist.iter().flatten().filter(|other| **other != self.command);
        let entries = others
            .chain([&self.command])
            .map(|command| format!(" --allowlist-entry {}", quoted(&format!("command={command}"))));
        format!(
            "kubectl kuberc set --section credentialplugin --policy Allowlist{}",
            entries.collect::<String>()
        )
    }
}
