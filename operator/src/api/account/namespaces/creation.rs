//! How a namespace is made: the account's limit and the cluster's names are known only when it stands.

use std::time::Duration;

use http::StatusCode;
use keyplane_core::audit::RequestedChange;
use keyplane_core::limits::namespace_limit;
use keyplane_core::namespace::check_name;
use keyplane_core::readiness::Reason;
use keyplane_core::seniority::Seniority;
use keyplane_crds::{Namespace, NamespaceSpec};
use kube::ResourceExt;
use tokio::time::Instant;

use super::view::{NamespaceState, verdict};
use crate::api::account::caller::{AccountCaller, failure_problem};
use crate::api::problem::Problem;
use crate::declared::{ApiFailure, Awaited};

/// How long the controller is waited for, to say what becomes of older namespaces.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often is looked at the API server: no watch of this process tells of namespaces.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// Makes a namespace of this name and waits until it can be used, within bounds.
///
/// # Errors
/// 400 for a name that cannot be one, 409 when there is no room for it: then nothing of it stays.
pub(super) async fn create(caller: &AccountCaller<'_>, name: &str) -> Result<Namespace, Problem> {
    let account = caller.account().await?;
    check_name(&account.name_any(), name).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_name", sentence(&error.to_string()))
    })?;
    let standing: Vec<Namespace> = caller.home.list().await.map_err(failure_problem)?;
    if standing.iter().any(|other| other.name_any() == name) {
        return Err(exists(name));
    }
    let limit = namespace_limit(&account);
    // Those that wait for room come before a new one, so that they count too.
    if standing.len() >= limit as usize {
        return Err(limit_reached(limit));
    }
    let wanted = Namespace::new(name, NamespaceSpec::default());
    caller.record(RequestedChange::CreateNamespace, &wanted.metadata).await?;
    let made = caller.home.create(wanted).await.map_err(|failure| match failure {
        ApiFailure::AlreadyExists => exists(name),
        other => failure_problem(other),
    })?;
    let is_decided = |seen: &Namespace| NamespaceState::of(seen) != NamespaceState::Pending;
    let seen = match caller.home.verdict_on(&made, is_decided).await.map_err(failure_problem)? {
        // It stands, and becomes ready without its maker.
        Awaited::Undecided(seen) => return Ok(seen),
        Awaited::Decided(seen) => seen,
    };
    let reason = verdict(&seen).map(|condition| condition.reason.clone()).unwrap_or_default();
    let refusal = if reason == Reason::LimitReached.as_str() {
        limit_reached(limit)
    } else if reason == Reason::NameTaken.as_str() {
        let message = verdict(&seen).map(|condition| condition.message.clone()).unwrap_or_default();
        Problem::new(StatusCode::CONFLICT, "name_taken", sentence(&message))
    } else if is_one_too_many(caller, &seen, limit).await? {
        limit_reached(limit)
    } else {
        return Ok(seen);
    };
    caller.home.delete(&seen).await.map_err(failure_problem)?;
    Err(refusal)
}

/// Whether so many older ones got a place that there is none for this: of several that are made at once, the controller
/// may have begun with some before it saw the others. What stands it never takes down; what was made here a moment ago,
/// and nobody has yet, goes. Waits until it is known of the older ones, so that whoever asks counts the same.
async fn is_one_too_many(caller: &AccountCaller<'_>, made: &Namespace, limit: u32) -> Result<bool, Problem> {
    let own = Seniority::of(&made.metadata);
    let end = Instant::now() + PATIENCE;
    loop {
        let found: Vec<Namespace> = caller.home.list().await.map_err(failure_problem)?;
        let older = found.iter().filter(|other| Seniority::of(&other.metadata) < own);
        let places: Vec<Place> = older.map(Place::of).collect();
        let is_known = !places.contains(&Place::Undecided);
        if is_known || Instant::now() >= end {
            let taken = places.iter().filter(|place| **place != Place::Without).count();
            return Ok(taken >= limit as usize);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether a namespace is one of those that the account may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It stands, or is being made.
    Taken,
    /// It cannot be made, or is going.
    Without,
    /// The controller has not said anything yet.
    Undecided,
}

impl Place {
    fn of(namespace: &Namespace) -> Self {
        match NamespaceState::of(namespace) {
            NamespaceState::Ready => Self::Taken,
            NamespaceState::Pending if verdict(namespace).is_some() => Self::Taken,
            NamespaceState::Pending => Self::Undecided,
            NamespaceState::Deleting | NamespaceState::Invalid => Self::Without,
        }
    }
}

fn exists(name: &str) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "namespace_exists",
        format!("The account has a namespace {name} already: choose another name"),
    )
}

fn limit_reached(limit: u32) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "namespace_limit_reached",
        format!(
            "The account may have {limit} namespaces and has as many: delete one that is no longer used, or have \
             spec.limits.namespaces of the Account raised"
        ),
    )
}

/// The same, beginning as a sentence does.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}
