//! How fresh what is known is: for each watch, whether its objects have been listed, and when the API server was last
//! heard of.
//!
//! A watch of which nothing happens says nothing, but it lives for seconds only and is then renewed. So a store that
//! was not heard of for longer is not quiet but cut off, and what it tells may have changed.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::TryFutureExt;
use http::Request;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use tower::service_fn;

/// How long a store may be not heard of before it is stale: two lives of a watch and some patience.
pub(crate) const STALE_AFTER: Duration = Duration::from_mins(1);

/// The watches of a process, or of a part of it. Clones look at the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Freshness {
    watches: Arc<Mutex<Vec<Arc<Watched>>>>,
    part: &'static str,
}

/// What is known of one watch.
pub(crate) struct Watched {
    part: &'static str,
    kind: String,
    count: Box<dyn Fn() -> usize + Send + Sync>,
    heard: Mutex<Heard>,
}

#[derive(Clone, Copy)]
struct Heard {
    is_listed: bool,
    /// When the API server was last heard of; the start of the watch before it ever was.
    last: Instant,
    /// The same, before the present watch request.
    before: Instant,
}

/// How fresh one store is at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The part of the process that the store belongs to, such as `api`.
    pub(crate) part: &'static str,
    /// The kind with its group, such as `core/Secret`.
    pub(crate) kind: String,
    /// Whether its objects have been listed once. Before, what is absent may only be unknown.
    pub(crate) is_listed: bool,
    /// How long ago the API server was last heard of; since the start of the watch, if it never was.
    pub(crate) age: Duration,
    /// How many objects are in the store.
    pub(crate) objects: usize,
}

impl Seen {
    /// Whether too much may have happened that is not known.
    pub(crate) fn is_stale(&self) -> bool {
        self.age > STALE_AFTER
    }
}

impl Freshness {
    /// The same watches; those that are added through this one are `part`'s.
    pub(crate) fn of_part(&self, part: &'static str) -> Self {
        Self { watches: self.watches.clone(), part }
    }

    /// Adds a watch of a kind, whose store holds `count` objects.
    pub(super) fn add(
        &self,
        kind: String,
        count: impl Fn() -> usize + Send + Sync + 'static,
    ) -> Arc<Watched> {
        let now = Instant::now();
        let heard = Mutex::new(Heard { is_listed: false, last: now, before: now });
        let watched = Arc::new(Watched { part: self.part, kind, count: Box::new(count), heard });
        self.watches().push(watched.clone());
        watched
    }

    /// Every store, by part and kind.
    pub(crate) fn look(&self, now: Instant) -> Vec<Seen> {
        let watches = self.watches().clone();
        let mut seen: Vec<Seen> = watches.iter().map(|watched| watched.seen(now)).collect();
        seen.sort_by(|one, other| (one.part, &one.kind).cmp(&(other.part, &other.kind)));
        seen
    }

    fn watches(&self) -> MutexGuard<'_, Vec<Arc<Watched>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn seen(&self, now: Instant) -> Seen {
        let Heard { is_listed, last, .. } = *self.heard();
        Seen {
            part: self.part,
            kind: self.kind.clone(),
            is_listed,
            age: now.saturating_duration_since(last),
            objects: (self.count)(),
        }
    }

    /// Everything has been listed.
    pub(super) fn listed(&self) {
        let mut heard = self.heard();
        heard.is_listed = true;
        heard.last = Instant::now();
    }

    /// What was heard on the present watch request was an error: the store learnt nothing from it.
    pub(super) fn refused(&self) {
        let mut heard = self.heard();
        heard.last = heard.before;
    }

    fn watch_began(&self) {
        let mut heard = self.heard();
        heard.before = std::mem::replace(&mut heard.last, Instant::now());
    }

    fn heard_of(&self) {
        self.heard().last = Instant::now();
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Watched")
            .field("part", &self.part)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// `client`, with whatever comes on its watch requests noted. It must be used for one watch only.
///
/// The watcher of kube keeps bookmarks and renewals to itself, and they are all that a quiet kind is heard of by.
pub(super) fn listening(client: &Client, watched: &Arc<Watched>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let (client, watched) = (client.clone(), watched.clone());
    let send = move |request: Request<Body>| {
        let is_watch = is_watch(request.uri().query());
        let (client, watched) = (client.clone(), watched.clone());
        let answering = async move { client.send(request).await };
        answering.map_ok(move |answer| {
            let is_heard = is_watch && answer.status().is_success();
            if is_heard {
                watched.watch_began();
            }
            answer.map(|body| {
                body.map_frame(move |frame| {
                    if is_heard {
                        watched.heard_of();
                    }
                    frame
                })
            })
        })
    };
    Client::new(service_fn(send), namespace)
}

fn is_watch(query: Option<&str>) -> bool {
    query.into_iter().flat_map(|query| query.split('&')).any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_as_old_as_what_was_last_heard_and_stale_after_a_minute() {
        let freshness = Freshness::default();
        let watched = freshness.of_part("api").add("core/Secret".to_owned(), || 3);
        let began = Instant::now();
        let [seen] = &freshness.look(began + Duration::from_secs(1))[..] else { panic!() };
        assert_eq!(
            (seen.part, seen.kind.as_str(), seen.is_listed, seen.objects),
            ("api", "core/Secret", false, 3)
        );
        assert!(!seen.is_stale());
        watched.listed();
        let [seen] = &freshness.look(Instant::now() + STALE_AFTER + Duration::from_millis(1))[..] else {
            panic!()
        };
        assert!(seen.is_listed && seen.is_stale());
    }

    #[test]
    fn a_watch_that_only_brings_errors_is_not_heard_of() {
        let watched = Freshness::default().add("core/Secret".to_owned(), || 0);
        watched.listed();
        let listed = watched.heard().last;
        for _ in 0..3 {
            watched.watch_began();
            watched.heard_of();
            watched.refused();
            assert_eq!(watched.heard().last, listed);
        }
        watched.watch_began();
        watched.heard_of();
        assert!(watched.heard().last > listed);
    }

    #[test]
    fn a_list_is_no_watch() {
        for (query, expected) in [
            (Some("&watch=true&timeoutSeconds=20&allowWatchBookmarks=true"), true),
            (Some("watch=1"), true),
            (Some("limit=500&fieldSelector=metadata.name%3Dwatch"), false),
            (Some("watch=false"), false),
            (None, false),
        ] {
            assert_eq!(is_watch(query), expected, "{query:?}");
        }
    }
}
