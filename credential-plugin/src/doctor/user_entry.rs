//! The context's user: whether and how it calls this plugin.

use serde::Deserialize;

use crate::doctor::finding::Finding;
use crate::doctor::programs::PLUGIN;
use crate::doctor::search_path;
use crate::doctor::shell::{kubectl, quoted};
use crate::environment::{self, URL_VARIABLE};
use crate::exec_protocol::ApiVersion;
use crate::failure::Failure;
use crate::kubeconfig::current::{ContextArgs, CurrentContext};

const CHECK: &str = "user";

/// A user's `exec` section, as far as it is looked at. It holds no key: `env` stays behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecSection {
    /// `command`
    #[serde(default)]
    pub command: String,
    /// `apiVersion`
    #[serde(default)]
    pub api_version: String,
    /// `interactiveMode`
    #[serde(default)]
    pub interactive_mode: Option<String>,
    /// `provideClusterInfo`
    #[serde(default)]
    pub provide_cluster_info: bool,
}

/// What was seen of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSeen {
    /// The user's name.
    pub user: String,
    /// Its `exec` section, when it has one.
    pub exec: Option<ExecSection>,
    /// Whether it calls this plugin, or why its arguments cannot be used.
    pub calls_plugin: Result<bool, Failure>,
    /// Whether the command names a program that can be started.
    pub starts: bool,
    /// Whether its arguments or a variable name the exchange.
    pub names_exchange: bool,
    /// kubectl, with the kubeconfig that is examined.
    pub kubectl: String,
}

impl UserSeen {
    pub(super) fn observe(context: &CurrentContext, args: &ContextArgs) -> Self {
        let exec = context.exec.as_ref().and_then(|exec| ExecSection::deserialize(exec).ok());
        let call = context.plugin_call();
        let variable = environment::text(URL_VARIABLE).ok().flatten().is_some();
        let names_exchange = variable
            || call.as_ref().ok().and_then(Option::as_ref).is_some_and(|call| {
                call.args.exchange.server.is_some() || call.variables.contains_key(URL_VARIABLE)
            });
        Self {
            user: context.user.clone(),
            starts: exec.as_ref().is_some_and(|exec| search_path::resolve(&exec.command).is_some()),
            exec,
            calls_plugin: call.map(|call| call.is_some()),
            names_exchange,
            kubectl: kubectl(args),
        }
    }

    /// The command, when it is this plugin's.
    #[must_use]
    pub fn plugin_command(&self) -> Option<&str> {
        let is_plugin = !matches!(self.calls_plugin, Ok(false));
        self.exec.as_ref().filter(|_| is_plugin).map(|exec| exec.command.as_str())
    }

    /// What is wrong with the entry, or that nothing is.
    #[must_use]
    pub fn judge(&self) -> Vec<Finding> {
        const ANOTHER: &str = "choose a context that uses Keyplane with: kubectl config use-context NAME; or make one with: \
                               kubectl keyplane kubeconfig --merge --server URL";
        let user = &self.user;
        let Some(exec) = &self.exec else {
            let found = format!("the user {user} has no exec section: kubectl does not call {PLUGIN} for it");
            return vec![Finding::problem(CHECK, found, ANOTHER)];
        };
        match &self.calls_plugin {
            Err(failure) => return vec![Finding::of_failure(CHECK, failure)],
            Ok(false) => {
                let found = format!("the user {user} calls {}, not {PLUGIN}", exec.command);
                return vec![Finding::problem(CHECK, found, ANOTHER)];
            }
            Ok(true) => {}
        }
        let wrong = self.wrong(exec);
        if wrong.is_empty() {
            vec![Finding::ok(CHECK, format!("the user {user} calls {}", exec.command))]
        } else {
            wrong
        }
    }

    fn wrong(&self, exec: &ExecSection) -> Vec<Finding> {
        let user = &self.user;
        let set =
            |option: &str| format!("{} config set-credentials {} {option}", self.kubectl, quoted(&self.user));
        let mut findings = Vec::new();
        let mut problem = |found: String, remedy: String| {
            findings.push(Finding::problem(CHECK, found, remedy));
        };
        if !self.starts {
            problem(
                format!("the user {user} calls {}, and there is no such program", exec.command),
                format!("put the plugin there, or let the user's exec.command be {PLUGIN}, which PATH finds"),
            );
        }
        let v1 = ApiVersion::V1.as_str();
        if exec.api_version != v1 && exec.api_version != ApiVersion::V1Beta1.as_str() {
            problem(
                format!("the user {user} asks for {}, which {PLUGIN} does not speak", exec.api_version),
                set(&format!("--exec-api-version={v1}")),
            );
        }
        let mode = exec.interactive_mode.as_deref().unwrap_or_default();
        if (mode.is_empty() && exec.api_version == v1) || mode == "Always" {
            let found = if mode.is_empty() {
                format!("the user {user} has no interactiveMode: kubectl refuses it")
            } else {
                format!(
                    "the user {user} has interactiveMode Always: kubectl fails where there is no terminal"
                )
            };
            problem(found, set("--exec-interactive-mode=Never"));
        }
        if !exec.provide_cluster_info && !self.names_exchange {
            problem(
                format!(
                    "the user {user} has no provideClusterInfo: {PLUGIN} is not told where the exchange is"
                ),
                set("--exec-provide-cluster-info=true"),
            );
        }
        findings
    }
}
