//! What the kubeconfig's current context says, as kubectl reads it: its cluster, its user, and how the user calls this
//! plugin. Commands that kubectl does not start look here for what kubectl would have told them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Parser as _};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::cli::{Cli, Command};
use crate::commands::get_token::GetTokenArgs;
use crate::environment::Variables;
use crate::exec_protocol::Cluster;
use crate::failure::{Failure, FailureKind};
use crate::kubeconfig::entries::EXTENSION;
use crate::kubectl::KubectlArgs;

/// This program, as a kubeconfig names it.
const PROGRAM: &str = "kubectl-keyplane";

/// Which kubeconfig, and which context in it.
#[derive(Args, Clone, Debug, Default)]
pub struct ContextArgs {
    /// The kubeconfig to look into when no --server is given [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context in it [default: the current one]
    #[arg(long, value_name = "NAME", conflicts_with = "server")]
    pub context: Option<String>,
}

/// A context with its cluster and its user. Its `exec` may hold a key, so it has no debug text.
pub struct CurrentContext {
    /// The context's name.
    pub name: String,
    /// The context's namespace, when it names one.
    pub namespace: Option<String>,
    /// The cluster.
    pub cluster: ClusterEntry,
    /// The user's name.
    pub user: String,
    /// The user's `exec` section, as it stands there: it may hold a key in `env`.
    pub exec: Option<Value>,
}

/// A cluster's entry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterEntry {
    /// The entry's name.
    #[serde(skip)]
    pub name: String,
    /// The API server's URL.
    #[serde(default)]
    pub server: String,
    /// The API server's CA, base64 of PEM, whatever file it was in.
    pub certificate_authority_data: Option<String>,
    /// The name in the API server's certificate, when it is not the URL's.
    pub tls_server_name: Option<String>,
    /// The proxy on the way to the API server.
    pub proxy_url: Option<String>,
    /// Whether the API server's certificate is not checked.
    #[serde(default)]
    pub insecure_skip_tls_verify: bool,
    #[serde(default)]
    extensions: Vec<Extension>,
}

#[derive(Clone, Debug, Deserialize)]
struct Extension {
    name: String,
    #[serde(default)]
    extension: Value,
}

impl ClusterEntry {
    /// The extension `client.authentication.k8s.io/exec`, which says where the cluster's exchange is.
    #[must_use]
    pub fn exec_extension(&self) -> Option<&Value> {
        self.extensions.iter().find(|entry| entry.name == EXTENSION).map(|entry| &entry.extension)
    }

    /// The API server's CA as PEM, when the entry brings one.
    ///
    /// # Errors
    /// [`FailureKind::File`] when it is not base64.
    pub fn ca_pem(&self) -> Result<Option<Vec<u8>>, Failure> {
        let data = self.certificate_authority_data.as_deref().filter(|data| !data.is_empty());
        data.map(|data| STANDARD.decode(data)).transpose().map_err(|_| {
            Failure::new(
                FailureKind::File,
                "the cluster's certificate-authority-data is not base64",
                &self.name,
                "make the kubeconfig again with: kubectl-keyplane kubeconfig",
            )
        })
    }
}

/// How a user's entry calls this plugin. Its variables may hold a key, so it has no debug text.
pub struct PluginCall {
    /// The arguments of get-token.
    pub args: GetTokenArgs,
    /// The variables that the entry sets for it; a value may be a key.
    pub variables: Variables,
    /// What kubectl tells it about the cluster; nothing unless the entry says `provideClusterInfo`.
    pub cluster: Option<Cluster>,
}

/// `kubectl config view --minify --flatten --raw -o json`, as far as it is read here.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct View {
    current_context: String,
    #[serde(default)]
    contexts: Vec<Named<ContextEntry>>,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct Named<T> {
    context: T,
}

#[derive(Default, Deserialize)]
struct ContextEntry {
    #[serde(default)]
    user: String,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    #[serde(default)]
    cluster: ClusterEntry,
}

#[derive(Deserialize)]
struct NamedUser {
    user: UserEntry,
}

#[derive(Default, Deserialize)]
struct UserEntry {
    exec: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Exec {
    command: String,
    args: Option<Vec<String>>,
    env: Option<Vec<Variable>>,
    #[serde(default)]
    provide_cluster_info: bool,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    value: String,
}

impl CurrentContext {
    /// Reads the context through kubectl, which knows how several files are merged and where relative paths begin: it
    /// puts in what the files hold.
    ///
    /// # Errors
    /// [`FailureKind::Kubectl`] when there is no kubectl, no such context, or no kubeconfig that can be read.
    pub fn read(args: &ContextArgs) -> Result<Self, Failure> {
        let kubectl = KubectlArgs {
            kubeconfig: args.kubeconfig.clone(),
            context: args.context.clone(),
            namespace: None,
        };
        let json =
            kubectl.run(&["config", "view", "--minify", "--flatten", "--raw", "--output", "json"], None)?;
        let wrong = || {
            Failure::new(
                FailureKind::Kubectl,
                "what kubectl says of the kubeconfig cannot be read",
                "kubectl config view --minify",
                "give --server URL, or mend the kubeconfig",
            )
        };
        // The parser's own words could quote a key.
        let view: View = serde_json::from_slice(&json).map_err(|_| wrong())?;
        let context = view.contexts.into_iter().next().ok_or_else(wrong)?.context;
        let cluster = view.clusters.into_iter().next().ok_or_else(wrong)?;
        Ok(Self {
            name: view.current_context,
            namespace: context.namespace.filter(|name| !name.is_empty()),
            cluster: ClusterEntry { name: cluster.name, ..cluster.cluster },
            user: context.user,
            exec: view.users.into_iter().next().and_then(|user| user.user.exec),
        })
    }

    /// How the user's entry calls this plugin; none when it calls another, or none.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when it calls this plugin with arguments that it does not know, or the cluster's extension
    /// cannot be read.
    pub fn plugin_call(&self) -> Result<Option<PluginCall>, Failure> {
        let Some(exec) = self.exec.as_ref().and_then(|exec| Exec::deserialize(exec).ok()) else {
            return Ok(None);
        };
        let program = Path::new(&exec.command).file_stem().and_then(|name| name.to_str());
        if program != Some(PROGRAM) {
            return Ok(None);
        }
        let words = exec.args.unwrap_or_default();
        let words = [PROGRAM.to_owned()].into_iter().chain(words).map(OsString::from);
        let Ok(Cli { command: Command::GetToken(args), .. }) = Cli::try_parse_from(words) else {
            return Err(Failure::new(
                FailureKind::Usage,
                "the kubeconfig's user calls this plugin with arguments that it does not know",
                format!("user {} of context {}", self.user, self.name),
                "mend the user's exec args, or make the kubeconfig again with: kubectl-keyplane kubeconfig",
            ));
        };
        let variables = exec.env.unwrap_or_default();
        let variables = variables.into_iter();
        let variables = variables.map(|variable| (variable.name, Zeroizing::new(variable.value))).collect();
        let cluster = if exec.provide_cluster_info { Some(self.told_cluster()?) } else { None };
        Ok(Some(PluginCall { args, variables, cluster }))
    }

    /// The cluster as kubectl passes it on to the plugin.
    fn told_cluster(&self) -> Result<Cluster, Failure> {
        let extension = self.cluster.exec_extension();
        let config = extension.map(serde::Deserialize::deserialize).transpose().map_err(|_| {
            Failure::new(
                FailureKind::Usage,
                format!("the cluster's extension {EXTENSION} cannot be read"),
                format!("cluster {}", self.cluster.name),
                "make the kubeconfig again with: kubectl-keyplane kubeconfig",
            )
        })?;
        Ok(Cluster {
            server: self.cluster.server.clone(),
            tls_server_name: self.cluster.tls_server_name.clone().unwrap_or_default(),
            certificate_authority_data: self.cluster.certificate_authority_data.clone().unwrap_or_default(),
            proxy_url: self.cluster.proxy_url.clone().unwrap_or_default(),
            config,
        })
    }
}
