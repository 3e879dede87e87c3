//! The sweep: identities and RoleBindings whose resource is gone, because somebody took the finalizer off or
//! because the resource went while nobody watched (invariant I3).

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use keyplane_core::child::{Child, ChildKind};
use keyplane_core::ownership::{OWNER_ANNOTATION, OWNER_KIND_LABEL, OwnerKind};
use keyplane_core::plan::plan_orphans;
use keyplane_crds::{Account, ApiKey};
use kube::{Api, Client};

use super::error::ReconcileError;
use super::execute::write_child;
use crate::index::ClusterView;

/// The pause before a failed sweep is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// Sweeps the children of each owner that is reported as unknown.
pub(super) async fn run(client: Client, view: Arc<ClusterView>, mut ownerless: UnboundedReceiver<String>) {
    while let Some(uid) = ownerless.next().await {
        while let Err(error) = sweep(&client, &view, &uid).await {
            tracing::warn!(owner_uid = uid, %error, "sweep failed; it is tried again");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn sweep(client: &Client, view: &ClusterView, uid: &str) -> Result<(), ReconcileError> {
    if view.knows_owner(uid) {
        return Ok(());
    }
    // Rights are swept. Namespaces hold people's work: one whose owner is gone is left to the administrator.
    let orphans: Vec<Child> = view
        .children_of(uid)
        .into_iter()
        .filter(|child| matches!(child.kind(), ChildKind::RoleBinding | ChildKind::Secret | ChildKind::ServiceAccount))
        .collect();
    for child in &orphans {
        if owner_lives(client, child, uid).await? {
            return Ok(());
        }
    }
    for action in plan_orphans(&orphans) {
        write_child(client, &action).await?;
    }
    Ok(())
}

/// Asks the API server itself, so that a watch that lags never costs a live key its access.
async fn owner_lives(client: &Client, child: &Child, uid: &str) -> Result<bool, ReconcileError> {
    let metadata = child.metadata();
    let kind = metadata.labels.as_ref().and_then(|labels| labels.get(OWNER_KIND_LABEL)).map(String::as_str);
    let reference = metadata.annotations.as_ref().and_then(|annotations| annotations.get(OWNER_ANNOTATION));
    let Some(reference) = reference else { return Ok(false) };
    let found = match (kind, reference.split_once('/')) {
        (Some(kind), Some((namespace, name))) if kind == OwnerKind::ApiKey.as_str() => {
            let api = Api::<ApiKey>::namespaced(client.clone(), namespace);
            api.get_metadata_opt(name).await.map(|found| found.and_then(|object| object.metadata.uid))
        }
        (Some(kind), None) if kind == OwnerKind::Account.as_str() => {
            let api = Api::<Account>::all(client.clone());
            api.get_metadata_opt(reference).await.map(|found| found.and_then(|object| object.metadata.uid))
        }
        _ => return Ok(false),
    };
    found
        .map(|found| found.as_deref() == Some(uid))
        .map_err(|error| ReconcileError::Unreachable(format!("{}: {error}", child.reference())))
}
