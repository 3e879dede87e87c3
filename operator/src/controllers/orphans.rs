//! The sweep: identities and RoleBindings whose resource is gone, because somebody took the finalizer off or
//! because the resource went while nobody watched (invariant I3).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use keyplane_core::child::Child;
use keyplane_core::ownership::OWNER_ANNOTATION;
use keyplane_core::plan::plan_orphans;
use keyplane_crds::{ApiKey, IDENTITIES_NAMESPACE};
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

/// Sweeps what is left of each owner that is reported. One that cannot be swept holds up no other, and is tried by
/// one task however often it is reported.
pub(super) async fn run(client: Client, view: Arc<ClusterView>, ownerless: UnboundedReceiver<String>) {
    let places = Semaphore::new(CONCURRENCY);
    let under_way = Mutex::new(HashSet::new());
    ownerless
        .for_each_concurrent(None, |uid| {
            let is_new = under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.clone());
            let (client, view, places, under_way) = (&client, &view, &places, &under_way);
            async move {
                if is_new {
                    sweep_until_clean(client, view, &uid, places, under_way).await;
                }
            }
        })
        .await;
}

async fn sweep_until_clean(
    client: &Client,
    view: &ClusterView,
    uid: &str,
    places: &Semaphore,
    under_way: &Mutex<HashSet<String>>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let place = places.acquire().await;
        // From here on a new report is a new sweep: it may tell of something that this one does not see.
        under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        let outcome = sweep(client, view, uid).await;
        drop(place);
        let Err(error) = outcome else { return };
        tracing::warn!(owner_uid = uid, %error, "sweep failed; it is tried again");
        if !under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned()) {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn sweep(client: &Client, view: &ClusterView, uid: &str) -> Result<(), ReconcileError> {
    let leftovers = match view.account_name_of(uid) {
        Some(account) => view.strays_of(uid, &account),
        None => view.orphans_of(uid),
    };
    let actions = plan_orphans(&leftovers);
    if actions.is_empty() {
        return Ok(());
    }
    for child in &leftovers {
        if owner_lives(client, child, uid).await? {
            return Ok(());
        }
    }
    for action in actions {
        write_child(client, &action).await?;
    }
    Ok(())
}

/// Asks the API server itself, so that a watch that lags never costs a live key its access. Only an identity's own
/// annotation is believed: what stands elsewhere, its tenants can write.
async fn owner_lives(client: &Client, child: &Child, uid: &str) -> Result<bool, ReconcileError> {
    let metadata = child.metadata();
    if metadata.namespace.as_deref() != Some(IDENTITIES_NAMESPACE) {
        return Ok(false);
    }
    let reference = metadata.annotations.as_ref().and_then(|annotations| annotations.get(OWNER_ANNOTATION));
    let Some((namespace, name)) = reference.and_then(|reference| reference.split_once('/')) else {
        return Ok(false);
    };
    let found = Api::<ApiKey>::namespaced(client.clone(), namespace).get_metadata_opt(name).await;
    found
        .map(|found| found.is_some_and(|object| object.metadata.uid.as_deref() == Some(uid)))
        .map_err(|error| ReconcileError::Unreachable(format!("{}: {error}", child.reference())))
}
