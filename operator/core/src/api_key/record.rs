//! A key's record: which versions of it verify. It is an annotation of the key's ServiceAccount, where only the
//! controller writes; no status and nothing that a user can edit says which digest is a key's.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::child::{Child, ChildKind};

/// The annotation that holds the record, as JSON, on a key's ServiceAccount; a copy is on the live version's anchor.
pub const VERSIONS_ANNOTATION: &str = "keyplane.dev/versions";

/// How many rotated-out digests may wait to be remembered; until they are, no further rotation begins.
const MOST_ENDED: usize = 8;

/// One key out of the sequence that rotation makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Its place in the sequence, from 1.
    pub number: u32,
    /// `sha256:` and the hex digest of the whole key.
    pub digest: String,
    /// Its display prefix, where Keyplane made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// When it was recorded.
    pub since: DateTime<Utc>,
    /// The `spec.rotation.requestedAt` that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<DateTime<Utc>>,
}

/// A version that another one replaced and that goes on verifying for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retired {
    /// The version.
    #[serde(flatten)]
    pub version: Version,
    /// When it was replaced.
    pub at: DateTime<Utc>,
    /// Until when it was to verify, as the grace period then was.
    pub until: DateTime<Utc>,
}

impl Retired {
    /// When it ends: a grace period that was shortened since counts, one that was lengthened does not.
    #[must_use]
    pub fn ends(&self, grace_seconds: u32) -> DateTime<Utc> {
        after(self.at, grace_seconds).min(self.until)
    }
}

/// Which versions of a key there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRecord {
    /// Grows with every change: of several copies the highest counts.
    pub sequence: u64,
    /// The account's limit under which the key was admitted: a lower one does not cut it.
    pub admitted_under: u32,
    /// The version that verifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Version>,
    /// The version before it, while that goes on verifying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Retired>,
    /// A version that was made and may not have reached its owner. It does not verify.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Version>,
    /// Digests that were rotated out and are still to be remembered as revoked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<String>,
}

impl KeyRecord {
    /// The record among what was made for a key: the newest copy, and of equally new ones the ServiceAccount's. An anchor's
    /// copy leaves out what is under way.
    #[must_use]
    pub fn among(children: &[Child]) -> Option<Self> {
        let identities = children
            .iter()
            .filter(|child| matches!(child.kind(), ChildKind::ServiceAccount | ChildKind::Secret));
        let copies = identities.filter_map(|child| {
            let is_whole = child.kind() == ChildKind::ServiceAccount;
            Some((is_whole, Self::of(child.metadata())?))
        });
        copies.max_by_key(|(is_whole, record)| (record.sequence, *is_whole)).map(|(_, record)| record)
    }

    /// The record that an object carries.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        let text = metadata.annotations.as_ref()?.get(VERSIONS_ANNOTATION)?;
        serde_json::from_str(text).ok()
    }

    /// The annotation's text.
    #[must_use]
    pub fn to_annotation(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The copy for the live version's anchor. What is under way is not in it: the anchor changes with the versions only.
    #[must_use]
    pub fn for_anchor(&self) -> Self {
        Self { pending: None, ended: Vec::new(), ..self.clone() }
    }

    /// The digests that verify at `now`: of the live version, and of the one before it within its grace.
    #[must_use]
    pub fn verifying(&self, grace_seconds: u32, now: DateTime<Utc>) -> Vec<&Version> {
        let previous = self.previous.as_ref().filter(|retired| now < retired.ends(grace_seconds));
        self.live.iter().chain(previous.map(|retired| &retired.version)).collect()
    }

    /// The versions that were made and have not ended.
    fn versions(&self) -> impl Iterator<Item = &Version> {
        let previous = self.previous.as_ref().map(|retired| &retired.version);
        self.live.iter().chain(previous).chain(&self.pending)
    }

    /// Every digest that was ever given out and is still in the record.
    #[must_use]
    pub fn digests(&self) -> Vec<&str> {
        let made = self.versions().map(|version| version.digest.as_str());
        made.chain(self.ended.iter().map(String::as_str)).collect()
    }

    /// Since when this key holds a digest. One that ended is held for good: nobody else can claim it before it is
    /// remembered.
    #[must_use]
    pub fn holds_since(&self, digest: &str) -> Option<DateTime<Utc>> {
        if self.ended.iter().any(|ended| ended == digest) {
            return Some(DateTime::<Utc>::MIN_UTC);
        }
        self.versions().filter(|version| version.digest == digest).map(|version| version.since).min()
    }

    /// Which version has a digest.
    #[must_use]
    pub fn number_of(&self, digest: &str) -> Option<u32> {
        self.versions().find(|version| version.digest == digest).map(|version| version.number)
    }

    /// Whether another rotation may begin.
    #[must_use]
    pub fn may_rotate(&self) -> bool {
        self.ended.len() < MOST_ENDED
    }

    /// The number of the next version.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        self.versions().map(|version| version.number).max().unwrap_or_default().saturating_add(1)
    }

    /// The record once `digest`, which the key's holder made, is the declared one.
    #[must_use]
    pub fn declaring(&self, digest: &str, grace_seconds: u32, now: DateTime<Utc>) -> Self {
        if self.live.as_ref().is_some_and(|live| live.digest == digest) || !self.may_rotate() {
            return self.clone();
        }
        let version = Version {
            number: self.next_number(),
            digest: digest.to_owned(),
            prefix: None,
            since: now,
            requested_at: None,
        };
        self.with_live(version, grace_seconds, now)
    }

    /// The record when a version was made and is about to be delivered.
    #[must_use]
    pub fn with_pending(&self, version: Version) -> Self {
        Self { sequence: self.sequence.saturating_add(1), pending: Some(version), ..self.clone() }
    }

    /// The record once the pending version was delivered.
    #[must_use]
    pub fn promoted(&self, grace_seconds: u32, now: DateTime<Utc>) -> Self {
        match &self.pending {
            Some(version) => {
                let version = Version { since: now, ..version.clone() };
                Self { pending: None, ..self.with_live(version, grace_seconds, now) }
            }
            None => self.clone(),
        }
    }

    /// Replaces the live version. Of more than two versions the older ones end at once.
    fn with_live(&self, version: Version, grace_seconds: u32, now: DateTime<Utc>) -> Self {
        let mut ended = self.ended.clone();
        let displaced = self.previous.iter().map(|retired| &retired.version.digest);
        ended.extend(displaced.filter(|digest| **digest != version.digest).cloned());
        let retired = self.live.clone().map(|live| Retired {
            version: live,
            at: now,
            until: after(now, grace_seconds),
        });
        let previous = match retired {
            Some(retired) if grace_seconds == 0 => {
                ended.push(retired.version.digest);
                None
            }
            retired => retired,
        };
        Self {
            sequence: self.sequence.saturating_add(1),
            live: Some(version),
            previous,
            ended,
            ..self.clone()
        }
    }

    /// The record at `now`: a version whose grace is over has ended, and what is remembered as revoked need not be
    /// kept any longer.
    #[must_use]
    pub fn at(&self, grace_seconds: u32, now: DateTime<Utc>, is_remembered: impl Fn(&str) -> bool) -> Self {
        let mut next = self.clone();
        if let Some(retired) = next.previous.take_if(|retired| retired.ends(grace_seconds) <= now) {
            next.ended.push(retired.version.digest);
        }
        next.ended.retain(|digest| !is_remembered(digest));
        if next != *self {
            next.sequence = next.sequence.saturating_add(1);
        }
        next
    }

    /// The record of a key that is admitted under a limit.
    #[must_use]
    pub fn admitted(&self, limit: u32) -> Self {
        if limit <= self.admitted_under {
            return self.clone();
        }
        Self { sequence: self.sequence.saturating_add(1), admitted_under: limit, ..self.clone() }
    }
}

fn after(moment: DateTime<Utc>, seconds: u32) -> DateTime<Utc> {
    moment.checked_add_signed(TimeDelta::seconds(i64::from(seconds))).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
