//! Starts the watches, waits until all are synced, and runs the reconcilers.

use std::sync::Arc;

use anyhow::bail;
use k8s_openapi::api::core::v1::{
    ConfigMap, LimitRange, Namespace as CoreNamespace, ResourceQuota, Secret, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use keyplane_core::api_key::is_shard;
use keyplane_core::ownership::{ISOLATION_POLICY, NAMESPACE_CHILD, is_binding_name};
use keyplane_core::readiness::ResourceKind;
use keyplane_crds::{Account, ApiKey, IDENTITIES_NAMESPACE, Namespace, SshKey};
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher::Config;
use kube::{Api, Client, Resource};
use tokio::task::JoinSet;

use super::account::AccountReconciler;
use super::announce::Announcer;
use super::api_key::ApiKeyReconciler;
use super::dispatch::Dispatch;
use super::namespace::NamespaceReconciler;
use super::ssh_key::SshKeyReconciler;
use super::{orphans, reconcile};
use crate::audit::AuditLog;
use crate::index::{ClusterView, Guarded, Watching, watch_into};
use crate::issued_kubeconfig::KubeconfigSettings;
use crate::metrics::ReconcileMetrics;

/// Runs every reconciler until one ends, which none should. `on_synced` is called when all watches are synced.
///
/// # Errors
/// When a watch or reconciler ends.
pub(crate) async fn run(
    watching: Watching,
    settings: KubeconfigSettings,
    audit: AuditLog,
    metrics: &ReconcileMetrics,
    on_synced: impl FnOnce(),
) -> anyhow::Result<()> {
    let client = watching.client().clone();
    let view = Arc::new(ClusterView::new());
    let settings = Arc::new(settings);
    let announcer = Arc::new(Announcer::new(client.clone(), audit));
    let (dispatch, queues) = Dispatch::new(view.clone());
    let mut tasks = JoinSet::new();
    spawn_watches(&mut tasks, &watching, &view, &dispatch);
    if !view.synced().await {
        bail!("a watch ended before it had listed its objects");
    }
    on_synced();
    tasks.spawn(reconcile::run::<AccountReconciler>(
        client.clone(),
        settings.clone(),
        announcer.clone(),
        view.clone(),
        view.accounts.clone(),
        queues.accounts,
        metrics.of(ResourceKind::Account),
    ));
    tasks.spawn(reconcile::run::<NamespaceReconciler>(
        client.clone(),
        settings.clone(),
        announcer.clone(),
        view.clone(),
        view.namespaces.clone(),
        queues.namespaces,
        metrics.of(ResourceKind::Namespace),
    ));
    tasks.spawn(reconcile::run::<ApiKeyReconciler>(
        client.clone(),
        settings.clone(),
        announcer.clone(),
        view.clone(),
        view.api_keys.clone(),
        queues.api_keys,
        metrics.of(ResourceKind::ApiKey),
    ));
    tasks.spawn(reconcile::run::<SshKeyReconciler>(
        client.clone(),
        settings.clone(),
        announcer.clone(),
        view.clone(),
        view.ssh_keys.clone(),
        queues.ssh_keys,
        metrics.of(ResourceKind::SshKey),
    ));
    tasks.spawn(orphans::run(client, view, queues.ownerless));
    match tasks.join_next().await {
        Some(Err(error)) => bail!("a controller task failed: {error}"),
        _ => bail!("a controller task ended"),
    }
}

fn spawn_watches(tasks: &mut JoinSet<()>, watching: &Watching, view: &Arc<ClusterView>, dispatch: &Dispatch) {
    macro_rules! watch {
        ($kind:ty, $api:path, $config:expr, $index:ident, $keep:expr, $on_change:ident) => {{
            let dispatch = dispatch.clone();
            let api = |client: Client| -> Api<Guarded<$kind>> { $api(client) };
            tasks.spawn(watch_into(watching, api, $config, view.$index.clone(), $keep, move |change| {
                dispatch.$on_change(&change)
            }));
        }};
    }
    let all = Config::default;
    let named = |name: &str| Config::default().fields(&format!("metadata.name={name}"));
    watch!(Account, Api::all, all(), accounts, |_| true, account_changed);
    watch!(Namespace, Api::all, all(), namespaces, |_| true, namespace_changed);
    watch!(ApiKey, Api::all, all(), api_keys, |_| true, api_key_changed);
    watch!(SshKey, Api::all, all(), ssh_keys, |_| true, ssh_key_changed);
    watch!(CoreNamespace, Api::all, all(), core_namespaces, |_| true, core_namespace_changed);
    watch!(ServiceAccount, in_identities, all(), service_accounts, |_| true, identity_changed);
    watch!(ConfigMap, in_identities, all(), tombstones, is_shard, tombstones_changed);
    watch!(Secret, in_identities, all(), secrets, |_| true, owners_changed);
    // By name, not by label: whoever may edit a RoleBinding could take our label off, but not our name.
    let ours = |binding: &RoleBinding| binding.metadata.name.as_deref().is_some_and(is_binding_name);
    watch!(RoleBinding, Api::all, all(), role_bindings, ours, owners_changed);
    watch!(ResourceQuota, Api::all, named(NAMESPACE_CHILD), resource_quotas, |_| true, owners_changed);
    watch!(LimitRange, Api::all, named(NAMESPACE_CHILD), limit_ranges, |_| true, owners_changed);
    watch!(NetworkPolicy, Api::all, named(ISOLATION_POLICY), network_policies, |_| true, owners_changed);
}

/// What is in the namespace of the keys' identities.
fn in_identities<K>(client: Client) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(client, IDENTITIES_NAMESPACE)
}
