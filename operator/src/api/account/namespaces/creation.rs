//! How a namespace is made: the account's limit and the cluster's names are known only when it stands.

use http::StatusCode;
use keyplane_core::audit::RequestedChange;
use keyplane_core::limits::namespace_limit;
use keyplane_core::namespace::check_name;
use keyplane_core::readiness::Reason;
use keyplane_crds::{Namespace, NamespaceSpec};
use kube::ResourceExt;

use super::view::{NamespaceState, verdict};
use crate::api::account::caller::{AccountCaller, failure_problem};
use crate::api::problem::Problem;
use crate::declared::{ApiFailure, Awaited};

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
    } else {
        return Ok(seen);
    };
    caller.home.delete(&seen).await.map_err(failure_problem)?;
    Err(refusal)
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
