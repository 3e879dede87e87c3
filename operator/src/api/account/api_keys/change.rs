//! Changing a key that stands: what is refused, and waiting until a change has its effect.

use std::net::IpAddr;
use std::time::Duration;

use chrono::Utc;
use keyplane_core::api_key::{
    KeyChange, Standing, check_expiry, is_decided, next_rotation_request, next_unlock, standing,
};
use keyplane_core::audit::RequestedChange;
use keyplane_core::key_format::{KeyDigest, KeyType, PlaintextKey};
use keyplane_core::readiness::Status;
use keyplane_crds::{ApiKey, KEY_PREFIX_ANNOTATION};
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::creation::names_own_namespaces;
use super::problems::{FROZEN, key_frozen, key_not_found, request_problem};
use crate::api::account::AccountCaller;
use crate::api::account::caller::failure_problem;
use crate::api::problem::{Problem, failed};
use crate::caller::{KeyCheck, Verb};
use crate::declared::{ApiFailure, Home};

/// How long a change may take to have its effect. It has it anyhow; the answer is then given earlier.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long this replica may lag behind what the controller says. It is milliseconds, unless the machine is overloaded.
const LAG: Duration = Duration::from_secs(1);
/// How often is looked into this process's own memory. The API server is not asked: many requests wait at once.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Why a key is not changed.
enum Unchanged {
    /// It ended.
    Frozen,
    /// It is not there.
    Absent,
    /// The API server does not do it.
    Failed(ApiFailure),
}

impl From<ApiFailure> for Unchanged {
    fn from(failure: ApiFailure) -> Self {
        match failure {
            // It ended a moment ago, and the resource's own rule knew first.
            ApiFailure::Rejected(message) if message.contains(FROZEN) => Self::Frozen,
            ApiFailure::NotFound => Self::Absent,
            failure => Self::Failed(failure),
        }
    }
}

impl From<Unchanged> for Problem {
    fn from(unchanged: Unchanged) -> Self {
        match unchanged {
            Unchanged::Frozen => key_frozen(),
            Unchanged::Absent => key_not_found(),
            Unchanged::Failed(failure) => failure_problem(failure),
        }
    }
}

/// The key with this id, if the caller may do this with it. One that is being deleted is not there any more.
///
/// # Errors
/// 403, 404.
pub(super) async fn standing_key(
    caller: &AccountCaller<'_>,
    keys: &KeyCheck,
    id: &str,
    verb: Verb,
) -> Result<ApiKey, Problem> {
    let key = match by_name(caller, keys, id).await? {
        Some(key) => {
            caller.may::<ApiKey>(verb, Some(&key.name_any())).await?;
            key
        }
        None => caller.find(id, verb, key_not_found).await?,
    };
    if key.metadata.deletion_timestamp.is_some() { Err(key_not_found()) } else { Ok(key) }
}

/// The key with this id, where a watch has told its name: it need not be looked for among all of the account's.
async fn by_name(caller: &AccountCaller<'_>, keys: &KeyCheck, id: &str) -> Result<Option<ApiKey>, Problem> {
    let home = &caller.home;
    let Some(name) = keys.index.name_of(home.name(), id) else { return Ok(None) };
    let found: Option<ApiKey> = home.named(&name).await.map_err(failure_problem)?;
    Ok(found.filter(|key| key.metadata.uid.as_deref() == Some(id)))
}

/// Changes what people say of a key.
///
/// # Errors
/// 400, 404, 409.
pub(super) async fn change(
    caller: &AccountCaller<'_>,
    keys: &KeyCheck,
    key: ApiKey,
    change: &KeyChange,
) -> Result<ApiKey, Problem> {
    may_change(&key)?;
    check_expiry(change.expires_at.flatten(), Utc::now()).map_err(|error| request_problem(&error))?;
    if let Some(scope) = &change.scope {
        names_own_namespaces(caller, scope).await?;
    }
    let changed =
        apply(caller, RequestedChange::UpdateApiKey, key, |_| json!({"spec": change.spec_patch()})).await?;
    Ok(until(&caller.home, keys, changed, PATIENCE, is_decided).await)
}

/// Ends a key.
///
/// # Errors
/// 404, 409.
pub(super) async fn revoke(
    caller: &AccountCaller<'_>,
    keys: &KeyCheck,
    key: ApiKey,
) -> Result<ApiKey, Problem> {
    may_change(&key)?;
    let revoked =
        apply(caller, RequestedChange::RevokeApiKey, key, |_| json!({"spec": {"revoked": true}})).await?;
    until_refused(keys, &revoked).await;
    Ok(revoked)
}

/// Deletes a key.
///
/// # Errors
/// 503.
pub(super) async fn delete(caller: &AccountCaller<'_>, keys: &KeyCheck, key: &ApiKey) -> Result<(), Problem> {
    caller.record(RequestedChange::DeleteApiKey, &key.metadata).await?;
    caller.home.delete(key).await.map_err(failure_problem)?;
    until_refused(keys, key).await;
    Ok(())
}

/// Replaces a key by another: one that is given back, or, where Keyplane delivers it, one that it makes and delivers.
///
/// # Errors
/// 404, 409.
pub(super) async fn rotate(
    caller: &AccountCaller<'_>,
    keys: &KeyCheck,
    key: ApiKey,
    grace_period_seconds: Option<u32>,
) -> Result<(ApiKey, Option<PlaintextKey>), Problem> {
    may_change(&key)?;
    let home = &caller.home;
    let with_grace = |mut rotation: Value| {
        if let (Some(seconds), Some(fields)) = (grace_period_seconds, rotation.as_object_mut()) {
            fields.insert("gracePeriodSeconds".to_owned(), json!(seconds));
        }
        rotation
    };
    if key.spec.delivery.is_some() {
        let before = version_of(&key);
        let changed = apply(caller, RequestedChange::RotateApiKey, key, |key| {
            let requested_at = next_rotation_request(key, Utc::now());
            json!({"spec": {"rotation": with_grace(json!({"requestedAt": requested_at}))}})
        })
        .await?;
        let is_another = |key: &ApiKey| is_decided(key) && (version_of(key) > before || !is_ready(key));
        return Ok((until(home, keys, changed, PATIENCE, is_another).await, None));
    }
    let plaintext = PlaintextKey::generate(&KeyType::account(), getrandom::fill).map_err(|_| failed())?;
    let (digest, prefix) = (plaintext.digest(), plaintext.prefix().to_string());
    let changed = apply(caller, RequestedChange::RotateApiKey, key, |_| {
        json!({
            "metadata": {"annotations": {KEY_PREFIX_ANNOTATION: prefix}},
            "spec": {"digest": digest.to_string(), "rotation": with_grace(json!({}))},
        })
    })
    .await?;
    let declares = |key: &ApiKey| key.spec.digest.as_deref() == Some(&*digest.to_string());
    let seen = until(home, keys, changed, PATIENCE, |key| is_decided(key) || !declares(key)).await;
    if !declares(&seen) {
        // Another rotation came right after, and its key is the one that verifies.
        return Err(failure_problem(ApiFailure::Conflict));
    }
    Ok((until_it_works(home, keys, seen, &digest).await, Some(plaintext)))
}

/// Lifts a key's lock, if it is locked.
///
/// # Errors
/// 404, 409.
pub(super) async fn unlock(
    caller: &AccountCaller<'_>,
    keys: &KeyCheck,
    key: ApiKey,
) -> Result<ApiKey, Problem> {
    may_change(&key)?;
    if next_unlock(&key, Utc::now()).is_none() {
        return Ok(key);
    }
    let changed = apply(caller, RequestedChange::UnlockApiKey, key, |key| {
        next_unlock(key, Utc::now()).map_or_else(|| json!({}), |at| json!({"spec": {"unlockedAt": at}}))
    })
    .await?;
    Ok(until(&caller.home, keys, changed, PATIENCE, is_decided).await)
}

/// Asks whether a key can still be changed.
fn may_change(key: &ApiKey) -> Result<(), Unchanged> {
    match standing(key, Utc::now()) {
        Standing::Live | Standing::ExpiredAtCreation => Ok(()),
        Standing::Deleting => Err(Unchanged::Absent),
        Standing::Revoked | Standing::Expired => Err(Unchanged::Frozen),
    }
}

/// Takes a change down and makes it, on top of whatever others have changed meanwhile.
async fn apply(
    caller: &AccountCaller<'_>,
    requested: RequestedChange,
    key: ApiKey,
    patch: impl Fn(&ApiKey) -> Value,
) -> Result<ApiKey, Problem> {
    caller.record(requested, &key.metadata).await?;
    let changing = caller.home.change(key, |key| {
        may_change(key)?;
        Ok::<_, Unchanged>(patch(key))
    });
    Ok(changing.await?)
}

/// Waits until a watch shows a key, of this generation or a later one, as wanted, or the patience is over. Gives the key as
/// it stands then at the API server.
pub(super) async fn until(
    home: &Home,
    keys: &KeyCheck,
    key: ApiKey,
    patience: Duration,
    is_it: impl Fn(&ApiKey) -> bool,
) -> ApiKey {
    let end = Instant::now() + patience;
    let name = key.name_any();
    let mut was_there = false;
    let is_over = |was_there: &mut bool| {
        let seen = keys.index.seen(key.metadata.namespace.as_deref(), &name);
        let Some(seen) = seen.filter(|seen| seen.metadata.uid == key.metadata.uid) else { return *was_there };
        *was_there = true;
        seen.metadata.generation >= key.metadata.generation && is_it(&seen)
    };
    while !is_over(&mut was_there) && Instant::now() < end {
        sleep(LOOK_EVERY).await;
    }
    present(home, key).await
}

/// A key as it stands now; as it was, where it is gone or the API server does not say: what was asked is done nevertheless.
async fn present(home: &Home, key: ApiKey) -> ApiKey {
    let found = home.named::<ApiKey>(&key.name_any()).await.ok().flatten();
    found.filter(|found| found.metadata.uid == key.metadata.uid).unwrap_or(key)
}

/// Waits until the exchange of this replica takes a key that is Ready.
pub(super) async fn until_it_works(home: &Home, keys: &KeyCheck, key: ApiKey, digest: &KeyDigest) -> ApiKey {
    if !is_ready(&key) {
        return key;
    }
    let end = Instant::now() + LAG;
    // From an address that its list allows, where it has one.
    let first = key.spec.allowed_cidrs.first().and_then(|entry| entry.split('/').next());
    let address: Option<IpAddr> = first.and_then(|address| address.parse().ok());
    let works = || {
        let admitted = keys.index.named(digest).admit(address, Utc::now());
        admitted.is_ok_and(|admitted| keys.index.identity_of(&admitted, digest).is_some())
    };
    while !works() && Instant::now() < end {
        sleep(LOOK_EVERY).await;
        // It ended meanwhile: nobody waits for that.
        if may_change(&key).is_err() {
            break;
        }
    }
    present(home, key).await
}

/// Waits until this replica knows that a key has ended, and refuses it: whoever is told so may rely on it here.
async fn until_refused(keys: &KeyCheck, key: &ApiKey) {
    let end = Instant::now() + PATIENCE;
    while !keys.index.knows_the_end(key, Utc::now()) && Instant::now() < end {
        sleep(LOOK_EVERY).await;
    }
}

fn is_ready(key: &ApiKey) -> bool {
    key.status.as_ref().is_some_and(|status| status.is_ready_at(key.metadata.generation))
}

fn version_of(key: &ApiKey) -> Option<u32> {
    key.status.as_ref().and_then(|status| status.version.as_ref()).map(|version| version.number)
}
