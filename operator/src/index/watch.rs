//! Watches that feed an index: bounded in silence, indifferent to single bad objects.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, ListSemantic};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::freshness::{Freshness, Watched, listening};
use super::guarded::{Guarded, Unreadable};
use super::indexed::{Change, Indexed};
use crate::runtime::{cause, unanswered};

/// How long one watch request lives, in seconds. A half-open connection is noticed a little later, instead of
/// after five minutes: this bounds how stale the exchange can be.
const WATCH_SECONDS: u32 = 20;

/// Where is watched, and who is told how fresh it is.
#[derive(Clone)]
pub(crate) struct Watching {
    client: Client,
    freshness: Freshness,
}

impl Watching {
    /// Watches of this client's, told to `freshness`.
    pub(crate) fn new(client: &Client, freshness: &Freshness) -> Self {
        Self { client: client.clone(), freshness: freshness.clone() }
    }

    /// The client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

/// Feeds `index` from a watch over what `api` makes of a client, and hands every change to `on_change`. An object that
/// cannot be decoded is logged and left out; it delays no other. Ends only with the process.
pub(crate) fn watch_into<K>(
    watching: &Watching,
    api: impl FnOnce(Client) -> Api<Guarded<K>>,
    config: watcher::Config,
    index: Arc<Indexed<K>>,
    keep: fn(&K) -> bool,
    on_change: impl Fn(Change<K>) + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let client = watching.client.clone();
    let store = index.store().clone();
    let watched = watching.freshness.add(qualified::<K>(), move || store.len());
    let api = api(listening(&client, &watched));
    // Authorization depends on what is listed, so the most recent state is asked for, not a cached one.
    let config = config.list_semantic(ListSemantic::MostRecent).timeout(WATCH_SECONDS);
    async move {
        let on_no_answer = || {
            unanswered(&client);
        };
        let events = watcher::watcher(api, config).backoff(Pauses::default());
        feed(events, &index, &watched, keep, on_change, on_no_answer).await;
    }
}

/// The pauses after trouble: kube-rs' own, but the first in a minute is short. Most often the watch's place in time was
/// too old and it is merely listed anew, and until then keys that were just made are not known here.
#[derive(Default)]
struct Pauses {
    last: Option<Instant>,
    further: DefaultBackoff,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let last = self.last.replace(now);
        let was_quiet = last.is_none_or(|last| now.duration_since(last) > Duration::from_mins(1));
        if was_quiet { Some(Duration::from_millis(50)) } else { self.further.next() }
    }
}

impl Backoff for Pauses {
    /// Each attempt to list counts as a success at its beginning: only time makes a pause the first again.
    fn reset(&mut self) {
        self.further.reset();
    }
}

async fn feed<K>(
    events: impl Stream<Item = watcher::Result<Event<Guarded<K>>>>,
    index: &Indexed<K>,
    watched: &Watched,
    keep: fn(&K) -> bool,
    on_change: impl Fn(Change<K>),
    on_no_answer: impl Fn(),
) where
    K: Resource<DynamicType = ()> + Clone + Debug + 'static,
{
    let mut events = std::pin::pin!(events);
    let mut trouble = Trouble::default();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => {
                // Each attempt to list begins with Init, also one that fails.
                if !matches!(event, Event::Init) {
                    trouble.over::<K>();
                }
                decoded(event, index)
            }
            Err(error) => {
                trouble.say::<K>(&error, &on_no_answer);
                if is_answered(&error) {
                    watched.refused();
                }
                None
            }
        };
        let is_list_done = matches!(event, Some(Event::InitDone));
        if let Some(change) = event.and_then(|event| kept(event, keep)).and_then(|event| index.apply(&event))
        {
            on_change(change);
        }
        if is_list_done {
            watched.listed();
        }
    }
}

/// Whether the API server did answer the watch, with something that is of no use. One that broke off was good until
/// then.
fn is_answered(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => true,
        watcher::Error::WatchFailed(error) => {
            matches!(error, kube::Error::Api(_) | kube::Error::SerdeError(_))
        }
        watcher::Error::InitialListFailed(_) | watcher::Error::WatchStartFailed(_) => false,
    }
}

/// What a watch is refused with: said once, until it is something else or over.
#[derive(Default)]
struct Trouble(Option<u16>);

impl Trouble {
    fn say<K: Resource<DynamicType = ()>>(&mut self, error: &watcher::Error, on_no_answer: &impl Fn()) {
        let (code, message) = match error {
            watcher::Error::WatchError(status) => (status.code, status.message.clone()),
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => match error {
                kube::Error::Api(status) => (status.code, status.message.clone()),
                // The watch may have ended in the middle of an answer; whether more is wrong is found out elsewhere.
                kube::Error::SerdeError(_) => (0, cause(error)),
                _ => return on_no_answer(),
            },
            watcher::Error::NoResourceVersion => (0, error.to_string()),
        };
        let kind = qualified::<K>();
        // Too old to be resumed: it is listed anew, as intended.
        if code == 410 {
            tracing::debug!(kind, "watch begins anew");
        } else if code == 503 {
            on_no_answer();
        } else if self.0.replace(code) != Some(code) {
            tracing::warn!(kind, error = message, "{}; it is tried again", remedy::<K>(code));
        }
    }

    fn over<K: Resource<DynamicType = ()>>(&mut self) {
        if self.0.take().is_some() {
            tracing::info!(kind = qualified::<K>(), "is watched again");
        }
    }
}

fn remedy<K: Resource<DynamicType = ()>>(code: u16) -> String {
    let resource = match K::group(&()) {
        group if group.is_empty() => K::plural(&()).into_owned(),
        group => format!("{}.{group}", K::plural(&())),
    };
    match code {
        401 => "the API server does not accept the credentials: renew them, or check --context".to_owned(),
        403 => format!("may not list or watch {resource}: apply charts/keyplane/files, or check --context"),
        404 => format!("the resource {resource} is not installed: apply crds/generated"),
        _ => format!("{resource} cannot be watched"),
    }
}

/// The kind with its group: there is a Namespace of Kubernetes and one of Keyplane.
fn qualified<K: Resource<DynamicType = ()>>() -> String {
    match K::group(&()) {
        group if group.is_empty() => format!("core/{}", K::kind(&())),
        group => format!("{group}/{}", K::kind(&())),
    }
}

fn decoded<K>(event: Event<Guarded<K>>, index: &Indexed<K>) -> Option<Event<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + 'static,
{
    match event {
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
        Event::InitApply(guarded) => object(guarded).ok().map(Event::InitApply),
        // What was known of an object that cannot be read any more is not true any more: it is forgotten, as if
        // deleted. Else a key that was revoked in the same write would go on verifying.
        Event::Apply(guarded) => match object(guarded) {
            Ok(object) => Some(Event::Apply(object)),
            Err(metadata) => known(&metadata, index).map(Event::Delete),
        },
        Event::Delete(guarded) => match object(guarded) {
            Ok(object) => Some(Event::Delete(object)),
            Err(metadata) => known(&metadata, index).map(Event::Delete),
        },
    }
}

fn known<K>(metadata: &ObjectMeta, index: &Indexed<K>) -> Option<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    index.get(metadata.namespace.as_deref(), metadata.name.as_deref()?).map(|object| object.as_ref().clone())
}

fn kept<K>(event: Event<K>, keep: fn(&K) -> bool) -> Option<Event<K>> {
    match &event {
        Event::Apply(object) | Event::Delete(object) | Event::InitApply(object) if !keep(object) => None,
        _ => Some(event),
    }
}

/// The decoded object, or what identifies one that cannot be decoded.
fn object<K: Resource<DynamicType = ()>>(guarded: Guarded<K>) -> Result<K, Box<ObjectMeta>> {
    guarded.0.map_err(|unreadable| {
        let Unreadable { error, metadata } = *unreadable;
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let name = metadata.name.as_deref().unwrap_or_default();
        tracing::warn!(kind = qualified::<K>(), namespace, name, %error, "object left out: it cannot be decoded");
        Box::new(metadata)
    })
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use keyplane_crds::ApiKey;
    use serde_json::json;

    use super::*;
    use crate::index::cluster_view::{api_key_keys, digest_key};

    fn key(name: &str, digest: &str) -> ApiKey {
        serde_json::from_value(json!({
            "apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey",
            "metadata": {"name": name, "namespace": "acme", "uid": name},
            "spec": {"digest": digest, "scope": {"all": true}},
        }))
        .unwrap()
    }

    fn unreadable(name: &str) -> Guarded<ApiKey> {
        let metadata =
            ObjectMeta { name: Some(name.into()), namespace: Some("acme".into()), ..ObjectMeta::default() };
        Guarded(Err(Box::new(Unreadable { error: "no".into(), metadata })))
    }

    fn readable(name: &str, digest: &str) -> Guarded<ApiKey> {
        Guarded(Ok(key(name, digest)))
    }

    async fn fed(events: Vec<Event<Guarded<ApiKey>>>) -> Indexed<ApiKey> {
        let index = Indexed::new(api_key_keys);
        let watched = Freshness::default().add(String::new(), || 0);
        feed(stream::iter(events.into_iter().map(Ok)), &index, &watched, |_| true, |_| {}, || {}).await;
        index
    }

    #[tokio::test]
    async fn an_object_that_can_no_longer_be_read_is_forgotten_and_delays_no_other() {
        let index = fed(vec![
            Event::Init,
            Event::InitApply(readable("one", "1")),
            Event::InitApply(unreadable("two")),
            Event::InitDone,
            Event::Apply(unreadable("one")),
            Event::Apply(readable("three", "3")),
        ])
        .await;
        assert!(index.find(&digest_key("1")).is_empty());
        assert_eq!(index.find(&digest_key("3")).len(), 1);
    }

    #[test]
    fn a_refused_watch_names_the_resource_with_its_group_and_the_remedy() {
        assert_eq!(
            remedy::<ApiKey>(403),
            "may not list or watch apikeys.keyplane.dev: apply charts/keyplane/files, or check --context"
        );
        assert_eq!(
            remedy::<ApiKey>(404),
            "the resource apikeys.keyplane.dev is not installed: apply crds/generated"
        );
        assert_eq!(qualified::<keyplane_crds::Namespace>(), "keyplane.dev/Namespace");
        assert_eq!(qualified::<k8s_openapi::api::core::v1::Namespace>(), "core/Namespace");
    }

    #[tokio::test]
    async fn what_a_relist_no_longer_shows_is_forgotten() {
        let index = fed(vec![
            Event::Init,
            Event::InitApply(readable("one", "1")),
            Event::InitApply(readable("two", "2")),
            Event::InitDone,
            Event::Init,
            Event::InitApply(readable("two", "2b")),
            Event::InitDone,
        ])
        .await;
        for (digest, found) in [("1", 0), ("2", 0), ("2b", 1)] {
            assert_eq!(index.find(&digest_key(digest)).len(), found, "{digest}");
        }
    }

    #[test]
    fn only_the_first_pause_in_a_minute_is_short_whatever_succeeds_in_between() {
        let mut pauses = Pauses::default();
        assert_eq!(pauses.next(), Some(Duration::from_millis(50)));
        for _ in 0..3 {
            pauses.reset();
            assert!(pauses.next() > Some(Duration::from_millis(400)));
        }
    }
}
