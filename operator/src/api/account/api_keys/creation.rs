//! Making a key: its form was checked, and RBAC lets the caller.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use keyplane_core::api_key::{
    IdempotencyKey, KeyRequest, REQUEST_DIGEST_ANNOTATION, check_expiry, check_ownership, is_beyond_limit,
    is_decided, live_keys, place_of,
};
use keyplane_core::audit::RequestedChange;
use keyplane_core::key_format::{KeyType, PlaintextKey};
use keyplane_core::limits::active_api_key_limit;
use keyplane_core::object_name::object_name;
use keyplane_core::seniority::timestamp;
use keyplane_crds::{ApiKey, ApiKeySpec, KEY_PREFIX_ANNOTATION, Namespace, Scope};
use kube::ResourceExt;

use super::change::{PATIENCE, until, until_it_works};
use super::problems::{idempotency_key_reused, limit_reached, request_problem};
use crate::api::account::AccountCaller;
use crate::api::account::caller::failure_problem;
use crate::api::problem::{Problem, failed};
use crate::caller::KeyCheck;
use crate::declared::{ApiFailure, Awaited};

/// How often another name is tried when one is taken.
const ATTEMPTS: usize = 4;
/// A key is young while another request may be waiting for what becomes of it, in seconds.
const YOUNG_SECONDS: i64 = 8;
/// How long the controller may lag behind what the keys' own ages say.
const LAG: Duration = Duration::from_secs(2);

/// What a creation comes to.
pub(super) enum Made {
    /// A key that was not there before.
    New(ApiKey, PlaintextKey),
    /// The key that an earlier attempt made.
    Replayed(ApiKey),
}

/// Makes a key, and waits until it is certain that the account's limit has room for it.
///
/// # Errors
/// 400, 409, 422; 503 when it is not known what became of it.
pub(super) async fn create(
    caller: &AccountCaller<'_>,
    keys: &KeyCheck,
    request: KeyRequest,
    idempotency: Option<IdempotencyKey>,
) -> Result<Made, Problem> {
    let home = &caller.home;
    let digest = request.digest();
    let fixed_name = idempotency.map(|key| key.object_name(home.name()));
    if let Some(name) = &fixed_name
        && let Some(earlier) = home.named::<ApiKey>(name).await.map_err(failure_problem)?
    {
        return Box::pin(replay(caller, keys, earlier, &digest)).await;
    }
    check_expiry(request.expires_at, Utc::now()).map_err(|error| request_problem(&error))?;
    names_own_namespaces(caller, &request.scope).await?;
    let limit = limit_of(caller).await?;
    let present: Vec<ApiKey> = home.list().await.map_err(failure_problem)?;
    if live_keys(&present, Utc::now()) >= limit {
        // Another attempt at the same moment may have taken the last place.
        let earlier =
            present.into_iter().find(|key| key.metadata.name.is_some() && key.metadata.name == fixed_name);
        return match earlier {
            Some(earlier) => Box::pin(replay(caller, keys, earlier, &digest)).await,
            None => Err(limit_reached(home.name(), limit)),
        };
    }
    let plaintext = PlaintextKey::generate(&KeyType::account(), getrandom::fill).map_err(|_| failed())?;
    let mut object = object_of(&request, &plaintext);
    if fixed_name.is_some() {
        object.annotations_mut().insert(REQUEST_DIGEST_ANNOTATION.to_owned(), digest.clone());
    }
    for _ in 0..ATTEMPTS {
        object.metadata.name = Some(match &fixed_name {
            Some(name) => name.clone(),
            None => object_name(&request.name, "key", random()?),
        });
        caller.record(RequestedChange::CreateApiKey, &object.metadata).await?;
        match home.create(object.clone()).await {
            Ok(made) => {
                let stands = Box::pin(with_room(caller, keys, made, limit)).await?;
                let stands = until_it_works(home, keys, stands, &plaintext.digest()).await;
                return Ok(Made::New(stands, plaintext));
            }
            Err(ApiFailure::AlreadyExists) => {}
            Err(failure) => return Err(failure_problem(failure)),
        }
        if let Some(name) = &fixed_name {
            let earlier = home.named::<ApiKey>(name).await.map_err(failure_problem)?;
            // Gone again: there was no room for it.
            let earlier = earlier.ok_or_else(|| failure_problem(ApiFailure::Conflict))?;
            return Box::pin(replay(caller, keys, earlier, &digest)).await;
        }
    }
    Err(failure_problem(ApiFailure::AlreadyExists))
}

/// The answer to another attempt.
async fn replay(
    caller: &AccountCaller<'_>,
    keys: &KeyCheck,
    earlier: ApiKey,
    digest: &str,
) -> Result<Made, Problem> {
    if earlier.annotations().get(REQUEST_DIGEST_ANNOTATION).is_none_or(|earlier| earlier != digest) {
        return Err(idempotency_key_reused());
    }
    if earlier.metadata.deletion_timestamp.is_some() {
        return Err(failure_problem(ApiFailure::Conflict));
    }
    let created = earlier.metadata.creation_timestamp.as_ref().map(timestamp);
    let is_young = created.is_some_and(|at| (Utc::now() - at).num_seconds().abs() < YOUNG_SECONDS);
    if !is_young {
        return Ok(Made::Replayed(earlier));
    }
    // The attempt that made it may not know yet whether it stays.
    let limit = limit_of(caller).await?;
    with_room(caller, keys, earlier, limit).await.map(Made::Replayed)
}

/// Asks whether all namespaces that a scope names are the account's.
///
/// # Errors
/// 400 with those that are not.
pub(super) async fn names_own_namespaces(caller: &AccountCaller<'_>, scope: &Scope) -> Result<(), Problem> {
    if scope.kubernetes_exec.is_none() {
        return Ok(());
    }
    let namespaces: Vec<Namespace> = caller.home.list().await.map_err(failure_problem)?;
    check_ownership(scope, &namespaces).map_err(|error| request_problem(&error))
}

async fn limit_of(caller: &AccountCaller<'_>) -> Result<u32, Problem> {
    caller.account().await.map(|account| active_api_key_limit(&account))
}

/// Waits until it is certain whether the limit has room for a key that was just made. One too many is deleted.
///
/// The controller decides. What the ages of the account's keys say is asked as well: the controller may not have seen yet
/// that of two which were made in one second this is the younger.
async fn with_room(
    caller: &AccountCaller<'_>,
    keys: &KeyCheck,
    made: ApiKey,
    limit: u32,
) -> Result<ApiKey, Problem> {
    let home = &caller.home;
    // The one waits for the controller, by the watch; the other until its place is certain.
    let (_, certain) =
        tokio::join!(until(home, keys, made.clone(), PATIENCE, is_decided), home.verdict_on(&made, |_| true));
    let (Awaited::Decided(mut seen) | Awaited::Undecided(mut seen)) = certain.map_err(failure_problem)?;
    if !is_decided(&seen) {
        let found = home.named::<ApiKey>(&made.name_any()).await.map_err(failure_problem)?;
        let found = found.filter(|found| found.metadata.uid == made.metadata.uid);
        seen = found.ok_or_else(|| failure_problem(ApiFailure::NotFound))?;
    }
    let mut is_beyond = is_beyond_limit(&seen);
    if !is_beyond {
        let present: Vec<ApiKey> = home.list().await.map_err(failure_problem)?;
        if place_of(&seen.uid().unwrap_or_default(), &present, Utc::now()) >= limit {
            let is_away = !is_decided(&seen);
            is_beyond =
                is_away || is_beyond_limit(&until(home, keys, seen.clone(), LAG, is_beyond_limit).await);
        }
    }
    if is_beyond {
        home.delete(&seen).await.map_err(failure_problem)?;
        return Err(limit_reached(home.name(), limit));
    }
    Ok(seen)
}

fn object_of(request: &KeyRequest, plaintext: &PlaintextKey) -> ApiKey {
    let spec = ApiKeySpec {
        display_name: Some(request.name.clone()),
        scope: request.scope.clone(),
        expires_at: request.expires_at,
        allowed_cidrs: request.allowed_cidrs.clone(),
        digest: Some(plaintext.digest().to_string()),
        ..ApiKeySpec::default()
    };
    let mut object = ApiKey::new("", spec);
    let prefix = (KEY_PREFIX_ANNOTATION.to_owned(), plaintext.prefix().to_string());
    object.metadata.annotations = Some(BTreeMap::from([prefix]));
    object
}

fn random() -> Result<[u8; 6], Problem> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).map_err(|_| failed())?;
    Ok(bytes)
}
