//! All contexts of the kubeconfig, of which one may already use an exchange.

use serde::Deserialize;
use serde_json::Value;

use crate::environment::KEY_VARIABLE;
use crate::exchange::address::{BaseUrl, ExchangeAddress, Named};
use crate::failure::{Failure, FailureKind};
use crate::kubeconfig::current::{ClusterEntry, ContextArgs, CurrentContext};
use crate::kubectl::KubectlArgs;

/// `kubectl config view --flatten --raw -o json`, as far as it is read here.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct View {
    #[serde(default)]
    current_context: String,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: ContextEntry,
}

#[derive(Deserialize)]
struct ContextEntry {
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: ClusterEntry,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: UserEntry,
}

#[derive(Deserialize)]
struct UserEntry {
    exec: Option<Value>,
}

/// A context with which kubectl calls this plugin for the exchange at `base`, and lets it use the key that is kept under
/// this name; the current one before others. A kubeconfig that cannot be read has none.
#[must_use]
pub fn context_for(base: &BaseUrl, key_name: Option<&str>, args: &ContextArgs) -> Option<String> {
    let mut contexts = read(args).ok()?.into_iter();
    contexts.find(|context| uses(context, base, key_name) == Some(true)).map(|context| context.name)
}

fn uses(context: &CurrentContext, base: &BaseUrl, key_name: Option<&str>) -> Option<bool> {
    let call = context.plugin_call().ok()??;
    let key = &call.args.key;
    let has_another = key.key_file.is_some() || call.variables.iter().any(|(name, _)| name == KEY_VARIABLE);
    let allowed = super::allowed(&call.args).ok()?;
    let named = call.args.exchange.named();
    let exchange =
        ExchangeAddress::locate(&named, call.cluster.as_ref(), &allowed, &Named::default()).ok()?;
    Some(exchange.base == *base && key.key_name.as_deref() == key_name && !has_another)
}

fn read(args: &ContextArgs) -> Result<Vec<CurrentContext>, Failure> {
    let kubectl = KubectlArgs { kubeconfig: args.kubeconfig.clone(), context: None, namespace: None };
    let json = kubectl.run(&["config", "view", "--flatten", "--raw", "--output", "json"], None)?;
    // The parser's own words could quote a key.
    let mut view: View = serde_json::from_slice(&json).map_err(|_| {
        Failure::new(
            FailureKind::Kubectl,
            "what kubectl says of the kubeconfig cannot be read",
            "kubectl config view",
            "mend the kubeconfig",
        )
    })?;
    let current = view.current_context;
    view.contexts.sort_by_key(|context| context.name != current);
    let (clusters, users) = (&view.clusters, &view.users);
    let whole = |NamedContext { name, context }| {
        let user = context.user;
        let entry = clusters.iter().find(|entry| entry.name == context.cluster)?;
        let exec = users.iter().find(|entry| entry.name == user)?.user.exec.clone();
        let mut cluster = entry.cluster.clone();
        cluster.name.clone_from(&entry.name);
        Some(CurrentContext { name, namespace: None, cluster, user, exec })
    };
    Ok(view.contexts.into_iter().filter_map(whole).collect())
}
