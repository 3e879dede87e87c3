//! The fields of a key's status that API replicas write, and what became of a write of them whose answer was lost.

use keyplane_core::api_key::LOCKED;
use keyplane_core::api_key::usage::{Settled, Uses, trace};
use keyplane_crds::{ApiKey, ApiKeyStatus, Lock, SecurityEvent, Usage};
use kube::ResourceExt;
use serde_json::{Map, Value, json};

/// What API replicas write into a status. Every other field is the controller's, and stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Owned {
    pub(super) usage: Option<Usage>,
    pub(super) lock: Option<Lock>,
    pub(super) security_events: Vec<SecurityEvent>,
    pub(super) refused_after_millis: Option<u64>,
}

impl Owned {
    /// Those fields of a key.
    pub(super) fn of(key: &ApiKey) -> Self {
        key.status.as_ref().map(Self::of_status).unwrap_or_default()
    }

    fn of_status(status: &ApiKeyStatus) -> Self {
        Self {
            usage: status.usage.clone(),
            lock: status.lock.clone(),
            security_events: status.security_events.clone(),
            refused_after_millis: status
                .revocation
                .as_ref()
                .and_then(|revocation| revocation.refused_after_millis),
        }
    }
}

/// A change of the owned fields.
pub(super) trait Change: Sync {
    /// The fields with the change made, or `None` when there is nothing to write on top of this version of the key.
    fn onto(&self, live: &ApiKey) -> Option<Owned>;
}

/// A write that was sent and whose outcome is not known.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    base_version: String,
    base: Owned,
    tried: Owned,
}

impl Attempt {
    /// A write of `tried` on top of this version of the key.
    pub(super) fn new(base: &ApiKey, tried: Owned) -> Self {
        Self { base_version: base.resource_version().unwrap_or_default(), base: Owned::of(base), tried }
    }

    /// The merge patch: only the fields that change, under the condition that the object is this one at this version.
    pub(super) fn patch(&self, uid: &str) -> Value {
        let mut status = Map::new();
        if self.tried.usage != self.base.usage {
            // What is not known of the last use must not be left over from the one before.
            let mut usage = json!({"lastUsedAt": null, "lastUsedIp": null, "lastUsedVersion": null});
            if let (Some(fields), Value::Object(known)) = (usage.as_object_mut(), json!(self.tried.usage)) {
                fields.extend(known);
            }
            status.insert("usage".to_owned(), usage);
        }
        if self.tried.lock != self.base.lock {
            status.insert("lock".to_owned(), json!(self.tried.lock));
        }
        if self.tried.security_events != self.base.security_events {
            status.insert("securityEvents".to_owned(), json!(self.tried.security_events));
        }
        if self.tried.refused_after_millis != self.base.refused_after_millis {
            let refused = json!({"refusedAfterMillis": self.tried.refused_after_millis});
            status.insert("revocation".to_owned(), refused);
        }
        json!({"metadata": {"resourceVersion": self.base_version, "uid": uid}, "status": status})
    }

    /// Tells from the key as it is now whether the write was accepted.
    ///
    /// Counts of uses tell it in all cases but one: when another replica has written since and this write's last use
    /// was not the newest. Then the write is taken for accepted, so that nothing is ever counted twice. Events tell it
    /// by themselves, because each has its time. The rest may be written again without harm.
    pub(super) fn settle(&self, live: &ApiKey) -> Settled {
        if live.resource_version().is_some_and(|version| version == self.base_version) {
            return Settled::Open;
        }
        let now = Owned::of(live);
        let by_events = || {
            if added(&self.base, &self.tried).all(|event| is_there(event, &self.tried, &now)) {
                Settled::Committed
            } else {
                Settled::NotCommitted
            }
        };
        let has_events = added(&self.base, &self.tried).next().is_some();
        match &self.tried.usage {
            Some(tried) if count(&self.base) < tried.count => {
                match trace(self.base.usage.as_ref(), tried, now.usage.as_ref()) {
                    Settled::Doubtful if has_events => by_events(),
                    settled => settled,
                }
            }
            _ if has_events => by_events(),
            _ => Settled::NotCommitted,
        }
    }
}

fn count(owned: &Owned) -> u64 {
    owned.usage.as_ref().map_or(0, |usage| Uses::stored(usage).count)
}

/// The events that a write adds or changes.
fn added<'a>(base: &'a Owned, tried: &'a Owned) -> impl Iterator<Item = &'a SecurityEvent> {
    let times_in =
        |owned: &Owned, event: &SecurityEvent| owned.security_events.iter().filter(|e| *e == event).count();
    tried.security_events.iter().filter(move |event| times_in(tried, event) > times_in(base, event))
}

/// Whether the stored events tell of this one. Denials of one address within one millisecond are as many events;
/// those of a locked key are summed up.
fn is_there(event: &SecurityEvent, tried: &Owned, now: &Owned) -> bool {
    let same = |owned: &Owned| owned.security_events.iter().filter(|stored| *stored == event).count();
    if event.reason == LOCKED {
        return now.security_events.iter().any(|stored| {
            stored.reason == LOCKED
                && stored.address == event.address
                && stored.count >= event.count
                && stored.time >= event.time
        });
    }
    same(now) >= same(tried)
}
