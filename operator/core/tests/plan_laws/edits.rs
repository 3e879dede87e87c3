//! The single writes that people, attackers and API replicas make.

use chrono::{DateTime, TimeDelta, Utc};
use keyplane_crds::{AccountLimits, ApiKey, ApiKeyState, ApiKeyStatus, Delivery, Lock, SealedTo};
use proptest::sample::Index;

use crate::model::Cluster;
use crate::resource::{Place, Resource};
use crate::specs::{self, Maker};

pub fn with_one<R: Resource>(cluster: &mut Cluster, at: Index, act: impl FnOnce(&mut Cluster, &Place)) {
    let places: Vec<Place> = R::table(cluster).keys().cloned().collect();
    if !places.is_empty() {
        act(cluster, at.get(&places));
    }
}

/// A write to the spec, which raises the generation where it changes something.
pub fn edit<R: Resource>(cluster: &mut Cluster, place: &Place, change: impl FnOnce(&mut R)) {
    let Some(found) = R::table_mut(cluster).get_mut(place) else {
        return;
    };
    let before = found.clone();
    change(found);
    if *found != before {
        let metadata = found.metadata_mut();
        metadata.generation = metadata.generation.map(|generation| generation + 1);
    }
}

/// A write to a key's spec, which admission refuses once the key is over.
pub fn edit_key(cluster: &mut Cluster, at: Index, change: impl FnOnce(&mut ApiKey)) {
    with_one::<ApiKey>(cluster, at, |cluster, place| edit_key_at(cluster, place, change));
}

/// A write to the spec of the key at this place.
pub fn edit_key_at(cluster: &mut Cluster, place: &Place, change: impl FnOnce(&mut ApiKey)) {
    let key = &cluster.api_keys[place];
    let state = key.status.as_ref().and_then(|status| status.state);
    let is_over = matches!(state, Some(ApiKeyState::Revoked | ApiKeyState::Expired));
    if key.spec.revoked != Some(true) && !is_over {
        edit::<ApiKey>(cluster, place, change);
    }
}

pub fn forge_ready(cluster: &mut Cluster, place: &Place) {
    use keyplane_core::readiness::{Readiness, Reason, Status};
    let key = &cluster.api_keys[place];
    let readiness = Readiness::ready(Reason::Active, "the key can be used");
    // What only a status can remember stays: that the key's time was over, whatever a clock says later; that it is
    // locked; and what was sealed into it.
    let stored = key.status.clone().unwrap_or_default();
    let status = ApiKeyStatus {
        state: stored.state,
        lock: stored.lock,
        digest: stored.digest,
        sealed_key: stored.sealed_key,
        revocation: stored.revocation,
        ..ApiKeyStatus::default()
    };
    let status = status.saying(&readiness, &[], key.metadata.generation, cluster.now);
    let uid = key.metadata.uid.clone();
    cluster.write_status::<ApiKey>(place, uid.as_deref(), &status);
}

/// An API replica writes its fields, whatever the rest of the status says.
pub fn lock(cluster: &mut Cluster, place: &Place) {
    let key = &cluster.api_keys[place];
    let lock = Lock {
        locked_at: cluster.now,
        reason: "AddressDenied".to_owned(),
        address: "203.0.113.7".to_owned(),
    };
    let status = ApiKeyStatus { lock: Some(lock), ..key.status.clone().unwrap_or_default() };
    let uid = key.metadata.uid.clone();
    cluster.write_status::<ApiKey>(place, uid.as_deref(), &status);
}

/// What a key's spec says of who makes it.
pub fn made_by(maker: Maker, secret_name: &str) -> (Option<String>, Option<Delivery>) {
    let sealed_to = |at: usize| Some(SealedTo { ssh_key: format!("ssh-{at}") });
    match maker {
        Maker::Holder(digest) => (Some(specs::digest(digest)), None),
        Maker::DeliveredToSecret => {
            (None, Some(Delivery { secret_name: Some(secret_name.to_owned()), sealed_to: None }))
        }
        Maker::SealedTo(at) => (None, Some(Delivery { secret_name: None, sealed_to: sealed_to(at) })),
    }
}

pub fn half_hours_from(now: DateTime<Utc>, halves: i64) -> DateTime<Utc> {
    now + TimeDelta::minutes(30 * halves)
}

/// The limit that an account's spec sets on its SSH keys.
pub fn limits(ssh_keys: Option<u32>) -> Option<AccountLimits> {
    ssh_keys.map(|ssh_keys| AccountLimits { ssh_keys: Some(ssh_keys), ..AccountLimits::default() })
}
