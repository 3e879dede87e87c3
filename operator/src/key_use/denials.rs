//! Uses from addresses outside a key's list: written at once, because some number of them locks the key.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use keyplane_core::api_key::{Denial, LockPolicy, after_denial, is_lifted, lock_of};
use keyplane_crds::{ApiKey, ApiKeyStatus, Lock};
use kube::ResourceExt;
use tokio::sync::{Notify, watch};

use super::owned::{Attempt, Change, Owned};
use super::status_writer::{StatusWriter, WriteError, Written};

/// How long a caller waits for its denial to be written.
const CALLER_LIMIT: Duration = Duration::from_secs(10);
/// How long to wait before denials that could not be written are tried again.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How many denials of one key wait at most. More can only come together while the API server is away and they are
/// too far apart to lock the key; then the oldest are forgotten.
const MOST_WAITING: usize = 64;

/// What a denied use led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Denied {
    /// The lock that holds now, if one does.
    pub locked: Option<Lock>,
    /// Whether this very denial brought the lock about, or was the first to be told of it: true for one caller at most.
    pub newly_locked: bool,
}

/// How far the writing of one key's denials is.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// So many of those that ever waited have been dealt with.
    written: u64,
    failures: u64,
    /// The lock that the last write left in the status.
    lock: Option<Lock>,
}

/// One key's denials.
#[derive(Debug)]
struct OfKey {
    key: Arc<ApiKey>,
    /// Not known to be written, oldest first.
    waiting: VecDeque<Denial>,
    /// How many ever waited.
    denied: u64,
    /// A write whose outcome is not known, of so many of the oldest.
    unsettled: Option<(Attempt, usize)>,
    is_writing: bool,
    progress: watch::Sender<Progress>,
    /// The lock that was decided here, until the watch tells of it.
    lock: Option<Lock>,
    /// Whether the lock was found there, decided by another replica.
    is_others: bool,
    /// Whether a caller was told that the lock is new.
    is_told: bool,
}

impl OfKey {
    fn new(key: Arc<ApiKey>) -> Self {
        Self {
            key,
            waiting: VecDeque::new(),
            denied: 0,
            unsettled: None,
            is_writing: false,
            progress: watch::Sender::default(),
            lock: None,
            is_others: false,
            is_told: false,
        }
    }

    /// The lock that was decided here, unless this version of the key lifts it.
    fn lock(&self, key: &ApiKey, now: DateTime<Utc>) -> Option<&Lock> {
        self.lock.as_ref().filter(|lock| !is_lifted(lock, key.spec.unlocked_at, now))
    }

    fn clear_lock(&mut self) {
        (self.lock, self.is_others, self.is_told) = (None, false, false);
    }
}

/// The denials that one write adds.
struct Batch {
    denials: Vec<Denial>,
    policy: LockPolicy,
    now: DateTime<Utc>,
    /// Whether the key was locked without them, by another replica, when that was last looked at.
    was_locked: AtomicBool,
}

impl Batch {
    fn new(denials: Vec<Denial>, policy: LockPolicy, now: DateTime<Utc>) -> Self {
        Self { denials, policy, now, was_locked: AtomicBool::new(false) }
    }

    /// The status's owned fields with the denials in them, and the lock that holds then.
    fn fold(&self, key: &ApiKey) -> (Owned, Option<Lock>) {
        let mut status = ApiKeyStatus {
            lock: key.status.as_ref().and_then(|status| status.lock.clone()),
            security_events: Owned::of(key).security_events,
            ..ApiKeyStatus::default()
        };
        let mut holding = lock_of(key, self.now).cloned();
        for denial in &self.denials {
            let after = after_denial(&status, key.spec.unlocked_at, *denial, self.policy, self.now);
            status.security_events = after.security_events;
            if after.lock.is_some() {
                status.lock.clone_from(&after.lock);
                holding = after.lock;
            }
        }
        // A lifted lock stays where it is: clearing it is the controller's.
        (Owned { lock: status.lock, security_events: status.security_events, ..Owned::of(key) }, holding)
    }
}

impl Change for Batch {
    fn onto(&self, live: &ApiKey) -> Option<Owned> {
        self.was_locked.store(lock_of(live, self.now).is_some(), Ordering::Relaxed);
        let (wanted, _) = self.fold(live);
        (wanted != Owned::of(live)).then_some(wanted)
    }
}

type Keys = HashMap<String, OfKey>;

/// The denials of all keys. Those of one key are written one write at a time, and those that come meanwhile go
/// together in the next.
#[derive(Clone)]
pub(super) struct Denials {
    keys: Arc<Mutex<Keys>>,
    writer: StatusWriter,
    policy: LockPolicy,
    failed: Arc<Notify>,
}

impl Denials {
    pub(super) fn new(writer: StatusWriter, policy: LockPolicy) -> Self {
        Self { keys: Arc::default(), writer, policy, failed: Arc::default() }
    }

    /// The lock that was decided by this process and holds for this version of the key.
    pub(super) fn lock(&self, key: &ApiKey, now: DateTime<Utc>) -> Option<Lock> {
        self.keys().get(key.metadata.uid.as_deref()?)?.lock(key, now).cloned()
    }

    /// Writes a denied use of a key that is not locked.
    pub(super) async fn denied(&self, key: &Arc<ApiKey>, denial: Denial, now: DateTime<Utc>) -> Denied {
        let Some(uid) = key.uid() else { return Denied::default() };
        let (number, mut progress) = self.note(&uid, key, denial, now);
        let before = progress.borrow().failures;
        let done = progress.wait_for(|progress| progress.written >= number || progress.failures > before);
        // When it takes longer, or fails, what was decided here holds until it can be written.
        let _ = tokio::time::timeout(CALLER_LIMIT, done).await;
        let written = progress.borrow().lock.clone();
        if let Some(of_key) = self.keys().get_mut(&uid)
            && let Some(lock) = of_key.lock(key, now).cloned()
        {
            let newly_locked = !of_key.is_others && !of_key.is_told;
            of_key.is_told |= newly_locked;
            return Denied { locked: Some(lock), newly_locked };
        }
        // The watch was quicker than this caller: what it tells of is not kept here any more.
        Denied {
            locked: written.filter(|lock| !is_lifted(lock, key.spec.unlocked_at, now)),
            newly_locked: false,
        }
    }

    /// Adds the denial to those that wait, decides from what is known here, and sees to it that somebody writes.
    fn note(
        &self,
        uid: &str,
        key: &Arc<ApiKey>,
        denial: Denial,
        now: DateTime<Utc>,
    ) -> (u64, watch::Receiver<Progress>) {
        let mut keys = self.keys();
        let of_key = keys.entry(uid.to_owned()).or_insert_with(|| OfKey::new(key.clone()));
        of_key.key = key.clone();
        if of_key.lock(key, now).is_none() {
            of_key.clear_lock();
        }
        of_key.waiting.push_back(denial);
        of_key.denied += 1;
        // Those of a write that is under way may be in the status already.
        if !of_key.is_writing {
            let sent = of_key.unsettled.as_ref().map_or(0, |(_, count)| *count);
            if of_key.waiting.len() > MOST_WAITING && of_key.waiting.remove(sent).is_some() {
                of_key.progress.send_modify(|progress| progress.written += 1);
            }
            let unsent = of_key.waiting.iter().skip(sent).copied().collect();
            let (_, lock) = Batch::new(unsent, self.policy, now).fold(key);
            of_key.lock = lock.or(of_key.lock.take());
        }
        let receiver = of_key.progress.subscribe();
        let number = of_key.denied;
        self.begin(uid, of_key);
        (number, receiver)
    }

    /// Starts writing, unless that is under way. Not in the caller's own task: a caller that hangs up must not leave
    /// a write behind of which nobody knows.
    fn begin(&self, uid: &str, of_key: &mut OfKey) {
        if of_key.is_writing || of_key.waiting.is_empty() {
            return;
        }
        of_key.is_writing = true;
        let (denials, uid) = (self.clone(), uid.to_owned());
        tokio::spawn(async move { while denials.write_next(&uid).await {} });
    }

    /// Writes what waits of one key. Says whether to go on.
    async fn write_next(&self, uid: &str) -> bool {
        let now = Utc::now();
        let Some((key, mut unsettled, batch)) = self.next_batch(uid, now) else { return false };
        let count = batch.denials.len();
        let outcome = self.writer.write(&key, &batch, &mut unsettled, None).await;
        let mut keys = self.keys();
        let Entry::Occupied(mut entry) = keys.entry(uid.to_owned()) else { return false };
        let of_key = entry.get_mut();
        match outcome {
            Ok(Written::Done(live)) => {
                of_key.waiting.drain(..count.min(of_key.waiting.len()));
                let lock = lock_of(&live, now).cloned();
                if let Some(lock) = &lock {
                    of_key.is_others = !of_key.is_told && batch.was_locked.load(Ordering::Relaxed);
                    of_key.lock = Some(lock.clone());
                }
                of_key.key = live;
                of_key.progress.send_modify(|progress| {
                    progress.written += count as u64;
                    progress.lock = lock;
                });
                true
            }
            Ok(Written::Gone) => {
                entry.remove();
                false
            }
            Err(error) => {
                of_key.is_writing = false;
                of_key.unsettled = unsettled.map(|attempt| (attempt, count));
                of_key.progress.send_modify(|progress| progress.failures += 1);
                self.failed.notify_one();
                say(uid, &error);
                false
            }
        }
    }

    /// What to write next; `None` when nothing waits any more.
    fn next_batch(&self, uid: &str, now: DateTime<Utc>) -> Option<(Arc<ApiKey>, Option<Attempt>, Batch)> {
        let mut keys = self.keys();
        let Entry::Occupied(mut entry) = keys.entry(uid.to_owned()) else { return None };
        let of_key = entry.get_mut();
        if of_key.waiting.is_empty() {
            of_key.is_writing = false;
            if of_key.lock.is_none() {
                entry.remove();
            }
            return None;
        }
        let (unsettled, count) = match of_key.unsettled.take() {
            Some((attempt, count)) => (Some(attempt), count),
            None => (None, of_key.waiting.len()),
        };
        let denials = of_key.waiting.iter().take(count).copied().collect();
        Some((of_key.key.clone(), unsettled, Batch::new(denials, self.policy, now)))
    }

    /// Tries again what could not be written, for as long as the process runs.
    pub(super) async fn retry(&self) {
        loop {
            self.failed.notified().await;
            tokio::time::sleep(RETRY_EVERY).await;
            for (uid, of_key) in self.keys().iter_mut() {
                self.begin(uid, of_key);
            }
        }
    }

    /// Waits until everything is written.
    pub(super) async fn settled(&self) {
        loop {
            let unwritten = {
                let keys = self.keys();
                keys.values()
                    .find(|of_key| !of_key.waiting.is_empty())
                    .map(|of_key| of_key.progress.subscribe())
            };
            let Some(mut unwritten) = unwritten else { return };
            // An error says that the key's entry is gone.
            let _ = unwritten.changed().await;
        }
    }

    /// Takes note of a version of a key that the watch tells of: a lock that stands in it, or that it lifts, needs
    /// no other memory.
    pub(super) fn observed(&self, key: &ApiKey, now: DateTime<Utc>) {
        let Some(uid) = key.metadata.uid.as_deref() else { return };
        let mut keys = self.keys();
        let Some(of_key) = keys.get_mut(uid) else { return };
        let stored = key.status.as_ref().and_then(|status| status.lock.as_ref());
        let is_told = of_key
            .lock
            .as_ref()
            .is_some_and(|lock| stored.is_some_and(|stored| stored.locked_at >= lock.locked_at));
        if is_told || of_key.lock(key, now).is_none() {
            of_key.clear_lock();
            if of_key.waiting.is_empty() && !of_key.is_writing {
                keys.remove(uid);
            }
        }
    }

    /// Forgets a key that was deleted.
    pub(super) fn forget(&self, uid: &str) {
        self.keys().remove(uid);
    }

    /// A panic elsewhere leaves whole entries behind.
    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn say(uid: &str, error: &WriteError) {
    tracing::warn!(key = uid, %error, "a denied use is not written down yet; what it locks is locked here meanwhile");
}
