//! Whether a key that someone presented may be used: the exchange's one question, answered from memory (invariant I1).

use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyplane_crds::{ApiKey, Condition, Lock, READY};

use super::allowed_addresses::AllowedAddresses;
use super::claim::Claim;
use super::issue::grace_seconds;
use super::lifecycle::{Standing, standing};
use super::lock::lock_of;
use super::record::KeyRecord;
use crate::readiness::{Outlook, Reason, Status};
use crate::seniority::Seniority;

/// A use of a key.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The digest of the key that was presented: its whole secret verified, for nobody knows another text of this digest.
    pub digest: &'a str,
    /// Where from; none where it cannot be told.
    pub address: Option<IpAddr>,
    /// When.
    pub now: DateTime<Utc>,
}

/// A key, and its record.
#[derive(Clone, Debug)]
pub struct Known {
    /// The key.
    pub key: Arc<ApiKey>,
    /// Which versions of it verify; none while it has no record.
    pub record: Option<KeyRecord>,
}

impl Known {
    /// The key's claim on a digest.
    #[must_use]
    pub fn claim_on(&self, digest: &str) -> Claim {
        Claim {
            since: self.record.as_ref().and_then(|record| record.holds_since(digest)),
            seniority: Seniority::of(&self.key.metadata),
        }
    }
}

/// A key that may be used.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The key.
    pub key: Arc<ApiKey>,
    /// Which version of it was presented.
    pub version: u32,
    /// When this version ends, where that is known.
    pub ends: Option<DateTime<Utc>>,
}

impl Admitted {
    /// When the presented key is of no use any more: the version ends, or the whole key does.
    #[must_use]
    pub fn ends(&self) -> Option<DateTime<Utc>> {
        self.ends.into_iter().chain(self.key.spec.expires_at).min()
    }
}

/// Why a presented key is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No live key has this digest. Which of unknown, revoked, expired, replaced and deleted it is, is not told.
    Unknown,
    /// The key is locked.
    Locked(Lock),
    /// The key may not be used from where it was.
    AddressNotAllowed,
    /// The key lives, but its declaration cannot be met; the holder is told what its owner must mend.
    NotReady {
        /// The reason of the condition `Ready`.
        reason: String,
        /// The message of the condition `Ready`.
        message: String,
    },
    /// The key's access is being set up; it will be there shortly.
    SettingUp,
}

/// Decides about the keys that declare the presented digest or have it on record. One holds it; an attacker who learns a
/// digest cannot take a key over by declaring it again.
///
/// # Errors
/// The refusal, when the key may not be used.
pub fn admit(candidates: &[Known], use_: Presented<'_>) -> Result<Admitted, Refusal> {
    let (known, admitted) = verified(candidates, use_)?;
    access(&known.key)?;
    admitted.ok_or(Refusal::SettingUp)
}

/// Decides about a key that asks who it is: as [`admit`], but a version that verifies is told while its access is still being
/// set up.
///
/// # Errors
/// The refusal, when the key may not be used.
pub fn recognize(candidates: &[Known], use_: Presented<'_>) -> Result<Admitted, Refusal> {
    let (known, admitted) = verified(candidates, use_)?;
    match access(&known.key) {
        Ok(()) | Err(Refusal::SettingUp) => admitted.ok_or(Refusal::SettingUp),
        Err(refusal) => Err(refusal),
    }
}

/// The key that holds the digest, where it lives and may be used from there; with its version, once that is on record.
fn verified<'a>(
    candidates: &'a [Known],
    use_: Presented<'_>,
) -> Result<(&'a Known, Option<Admitted>), Refusal> {
    let known = holder(candidates, use_.digest).ok_or(Refusal::Unknown)?;
    let key = &known.key;
    if standing(key, use_.now) != Standing::Live {
        return Err(Refusal::Unknown);
    }
    let admitted = match verifying(known, use_) {
        Verifies::Yes(admitted) => Some(admitted),
        Verifies::NotYet => None,
        Verifies::No => return Err(Refusal::Unknown),
    };
    if let Some(lock) = lock_of(key, use_.now) {
        return Err(Refusal::Locked(lock.clone()));
    }
    if !is_allowed_from(key, use_.address) {
        return Err(Refusal::AddressNotAllowed);
    }
    Ok((known, admitted))
}

/// Whether the controller has given a key what it declares.
fn access(key: &ApiKey) -> Result<(), Refusal> {
    let generation = key.metadata.generation;
    let Some(status) = key.status.as_ref() else { return Err(Refusal::SettingUp) };
    if status.is_ready_at(generation) {
        return Ok(());
    }
    match ready_condition(&status.conditions) {
        Some(condition) if condition.observed_generation == generation && !is_passing(&condition.reason) => {
            Err(Refusal::NotReady { reason: condition.reason.clone(), message: condition.message.clone() })
        }
        _ => Err(Refusal::SettingUp),
    }
}

/// Whether a key may be used from an address: from everywhere where it lists none, else not from one that is unknown. A
/// list that cannot be read allows nobody.
#[must_use]
pub fn is_allowed_from(key: &ApiKey, address: Option<IpAddr>) -> bool {
    AllowedAddresses::parse(&key.spec.allowed_cidrs).is_ok_and(|allowed| match address {
        Some(address) => allowed.allows(address),
        None => allowed.allows_all(),
    })
}

/// Of the keys that name a digest, the one that holds it.
#[must_use]
pub fn holder<'a>(candidates: &'a [Known], digest: &str) -> Option<&'a Known> {
    match candidates {
        // Nearly always: there is nothing to compare.
        [only] => Some(only),
        several => several.iter().min_by_key(|known| known.claim_on(digest)),
    }
}

enum Verifies {
    Yes(Admitted),
    /// It is declared, and will be recorded shortly.
    NotYet,
    No,
}

/// Whether a version with this digest verifies: it must be on record, and still be what the key declares.
fn verifying(known: &Known, use_: Presented<'_>) -> Verifies {
    let key = &known.key;
    let declared = key.spec.digest.as_deref();
    let is_declared = declared == Some(use_.digest);
    let is_made_here = declared.is_none() && key.spec.delivery.is_some();
    let grace_seconds = grace_seconds(key);
    let record = known.record.as_ref();
    let admitted = |version, ends| Verifies::Yes(Admitted { key: key.clone(), version, ends });
    if let Some(live) =
        record.and_then(|record| record.live.as_ref()).filter(|live| live.digest == use_.digest)
    {
        // A digest that is declared no more is about to be replaced: without a grace period it is refused already.
        let stands = is_declared || is_made_here || grace_seconds > 0;
        return if stands { admitted(live.number, None) } else { Verifies::No };
    }
    let previous = record.and_then(|record| record.previous.as_ref());
    if let Some(retired) = previous.filter(|retired| retired.version.digest == use_.digest) {
        let ends = retired.ends(grace_seconds);
        if use_.now < ends {
            return admitted(retired.version.number, Some(ends));
        }
    }
    // One that was just handed over will take its place in a moment, or be made anew.
    let pending = record.and_then(|record| record.pending.as_ref());
    let is_pending = is_made_here && pending.is_some_and(|pending| pending.digest == use_.digest);
    if is_declared || is_pending { Verifies::NotYet } else { Verifies::No }
}

fn ready_condition(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == READY)
}

/// Whether a reason passes by itself.
fn is_passing(reason: &str) -> bool {
    Reason::ALL.iter().any(|known| known.as_str() == reason && known.outlook() == Outlook::Passes)
}
