//! Namespace: observe and write.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyplane_core::namespace::{ObservedNamespace, plan};
use keyplane_core::ownership::{is_made_for, kubernetes_name};
use keyplane_core::plan::Plan;
use keyplane_core::readiness::ResourceKind;
use keyplane_crds::{Namespace, NamespaceStatus};
use kube::{Api, Client, ResourceExt};

use super::reconcile::Reconciler;
use crate::index::ClusterView;

/// Reconciles Namespaces.
pub(super) struct NamespaceReconciler;

impl Reconciler for NamespaceReconciler {
    type Resource = Namespace;
    type Status = NamespaceStatus;

    const KIND: ResourceKind = ResourceKind::Namespace;

    fn plan(view: &ClusterView, namespace: &Arc<Namespace>, now: DateTime<Utc>) -> Plan<NamespaceStatus> {
        let name = kubernetes_name(namespace);
        let core = view.core_namespaces.get(None, &name);
        // Only where the core Namespace is this resource's own are the reserved names in it ours.
        let uid = namespace.uid().unwrap_or_default();
        let own = core.as_deref().is_some_and(|core| is_made_for(core, Some(&uid))).then_some(name.as_str());
        let home = namespace.namespace().unwrap_or_default();
        let children = view.children_of_namespace(&uid, &home, own);
        let observed = ObservedNamespace {
            namespace: namespace.clone(),
            account: view.account_of(&home),
            core,
            children,
            ahead: view.namespaces_ahead(namespace),
        };
        plan(&observed, now)
    }

    fn stored_status(namespace: &Namespace) -> Option<NamespaceStatus> {
        namespace.status.clone()
    }

    fn api(client: Client, namespace: &Namespace) -> Api<Namespace> {
        Api::namespaced(client, &namespace.namespace().unwrap_or_default())
    }
}
