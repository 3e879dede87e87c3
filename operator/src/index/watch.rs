//! Watches that feed an index: bounded in silence, indifferent to single bad objects.

use std::fmt::Debug;
use std::future::ready;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, ListSemantic};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::indexed::{Change, Indexed};

/// How long one watch request lives, in seconds. A half-open connection is noticed a little later, instead of
/// after five minutes: this bounds how stale the exchange can be.
const WATCH_SECONDS: u32 = 20;

/// Feeds `index` from a watch over `api`, and hands every change to `on_change`. An object that cannot be decoded
/// is logged and left out; it delays no other. Ends only with the process.
pub(crate) async fn watch_into<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    index: Arc<Indexed<K>>,
    keep: fn(&K) -> bool,
    on_change: impl Fn(Change<K>) + Send,
) where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    // Authorization depends on what is listed, so the most recent state is asked for, not a cached one.
    let config = config.list_semantic(ListSemantic::MostRecent).timeout(WATCH_SECONDS);
    let events = watcher::watcher(api, config).default_backoff();
    let mut events = std::pin::pin!(decoded(events, keep));
    while let Some(event) = events.next().await {
        if let Some(change) = index.apply(&event) {
            on_change(change);
        }
    }
}

fn decoded<K>(
    events: impl Stream<Item = watcher::Result<Event<DeserializeGuard<K>>>>,
    keep: fn(&K) -> bool,
) -> impl Stream<Item = Event<K>>
where
    K: Resource<DynamicType = ()> + Debug,
{
    let kind = K::kind(&()).into_owned();
    events.filter_map(move |event| {
        let kept = match event {
            Err(error) => {
                tracing::warn!(kind, %error, "watch interrupted; it is resumed by itself");
                None
            }
            Ok(Event::Apply(guarded)) => object(&kind, guarded).filter(keep).map(Event::Apply),
            Ok(Event::Delete(guarded)) => object(&kind, guarded).filter(keep).map(Event::Delete),
            Ok(Event::InitApply(guarded)) => object(&kind, guarded).filter(keep).map(Event::InitApply),
            Ok(Event::Init) => Some(Event::Init),
            Ok(Event::InitDone) => Some(Event::InitDone),
        };
        ready(kept)
    })
}

/// The decoded object without its managed fields, which are large and which nothing here reads.
fn object<K: Resource<DynamicType = ()>>(kind: &str, guarded: DeserializeGuard<K>) -> Option<K> {
    match guarded.0 {
        Ok(mut object) => {
            object.meta_mut().managed_fields = None;
            Some(object)
        }
        Err(error) => {
            let namespace = error.metadata.namespace.as_deref().unwrap_or_default();
            let name = error.metadata.name.as_deref().unwrap_or_default();
            tracing::warn!(kind, namespace, name, error = %error.error, "object left out: it cannot be decoded");
            None
        }
    }
}
