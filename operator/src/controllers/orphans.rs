//! The sweep: identities and RoleBindings whose resource is gone, because somebody took the finalizer off or
//! because the resource went while nobody watched (invariant I3).

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use keyplane_core::child::Child;
use keyplane_core::ownership::{OWNER_ANNOTATION, OWNER_KIND_LABEL, OwnerKind};
use keyplane_core::plan::plan_orphans;
use keyplane_crds::{Account, ApiKey};
use kube::{Api, Client};
use tokio::sync::Semaphore;

use super::error::ReconcileError;
use super::execute::write_child;
use crate::index::ClusterView;

/// The first pause after a failed sweep; it doubles with each failure in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many owners' leftovers are swept at once.
const CONCURRENCY: usize = 4;

/// Sweeps the children of each owner that is reported as unknown. One that cannot be swept holds up no other.
pub(super) async fn run(client: Client, view: Arc<ClusterView>, ownerless: UnboundedReceiver<String>) {
    let places = Semaphore::new(CONCURRENCY);
    ownerless.for_each_concurrent(None, |uid| sweep_until_clean(&client, &view, uid, &places)).await;
}

async fn sweep_until_clean(client: &Client, view: &ClusterView, uid: String, places: &Semaphore) {
    let mut pause = FIRST_PAUSE;
    loop {
        let place = places.acquire().await;
        let outcome = sweep(client, view, &uid).await;
        drop(place);
        let Err(error) = outcome else { return };
        tracing::warn!(owner_uid = uid, %error, "sweep failed; it is tried again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn sweep(client: &Client, view: &ClusterView, uid: &str) -> Result<(), ReconcileError> {
    if view.knows_owner(uid) {
        return Ok(());
    }
    let children = view.children_of(uid);
    let actions = plan_orphans(&children);
    if actions.is_empty() {
        return Ok(());
    }
    for child in &children {
        if owner_lives(client, child, uid).await? {
            return Ok(());
        }
    }
    for action in actions {
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
