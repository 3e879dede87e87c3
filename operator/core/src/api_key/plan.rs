//! What an `ApiKey` needs: its identity with the record of its versions, an anchor for each that verifies, and one
//! `RoleBinding` in each granted namespace.

use std::collections::BTreeSet;

use chrono::{DateTime, SubsecRound, Utc};
use keyplane_crds::ApiKey;

use super::children::{entitled, identity};
use super::claim::Claim;
use super::issue::{self, Issue};
use super::last_copy;
use super::lifecycle::{Standing, standing};
use super::lock;
use super::observed::ObservedApiKey;
use super::record::KeyRecord;
use super::scope::Grant;
use super::status::{self, Facts};
use super::tombstones::Tombstone;
use super::unused::unused_from;
use super::verdict::{Verdict, home, recipient, verdict};
use crate::child::{Child, ChildKind};
use crate::limits::active_api_key_limit;
use crate::ownership::{Owner, OwnerKind};
use crate::plan::{Action, Convergence, Plan, changed, teardown};
use crate::provisioning::has_finalizer;
use crate::readiness::{Reason, Status};
use crate::seniority::Seniority;

/// What to do for an `ApiKey`.
#[must_use]
pub fn plan(observed: &ObservedApiKey, now: DateTime<Utc>) -> Plan<keyplane_crds::ApiKeyStatus> {
    let key = &observed.key;
    let now = now.trunc_subsecs(3);
    let grace_seconds = issue::grace_seconds(key);
    let found = KeyRecord::among(&observed.children);
    let record =
        found.clone().map(|record| record.at(grace_seconds, now, |digest| observed.is_remembered(digest)));
    let tombstones = tombstones(observed, record.as_ref(), now);
    if key.metadata.deletion_timestamp.is_some() {
        return Plan::of(take_away(observed, tombstones));
    }
    let judged = record.clone().unwrap_or_default();
    let verdict = verdict(observed, &judged, now);
    let record = if verdict.is_entitled { Some(admitted(observed, &judged, now)) } else { record };
    let is_over = !matches!(standing(key, now), Standing::Live | Standing::ExpiredAtCreation);
    let is_told = status::is_told(key, record.as_ref(), now);
    let is_record_needed = !is_over || !is_told || !tombstones.is_empty();
    let convergence = if is_over {
        // Nothing is made for a key that ended: what cannot be made would keep it from ending.
        Convergence::keeping(&observed.children, |child| is_record_needed && is_identity(child))
    } else {
        Convergence::between(&wanted(observed, &verdict, record.as_ref(), now), &observed.children)
    };
    let mut actions = convergence.actions.clone();
    // Before whatever gives, and after what takes: nobody who takes the finalizer off delays that.
    let needs_finalizer = !is_over && record.is_some() && !has_finalizer(&key.metadata);
    if needs_finalizer {
        let first = actions.iter().position(Action::gives).unwrap_or(actions.len());
        actions.insert(first, Action::AddFinalizer);
    }
    actions.extend(tombstones.into_iter().map(Action::Remember));
    if is_record_needed {
        let is_leaving = |child: &Child| is_identity(child) && child.is_terminating();
        let must_wait = if is_over { !is_told } else { observed.children.iter().any(is_leaving) };
        actions = last_copy::kept(actions, &observed.children, must_wait);
    }
    let is_settled = !needs_finalizer && convergence.is_complete();
    let facts =
        Facts { observed, verdict: &verdict, record: record.as_ref(), convergence: &convergence, is_settled };
    let wanted_status = status::of(&facts, now);
    let stored = key.status.as_ref();
    let status = if status::stays(&facts) { None } else { changed(wanted_status, stored) };
    // What is said comes first: a key that waits for its delivery says so, one that verifies goes on doing it.
    let issue = record.as_ref().filter(|_| verdict.is_entitled && is_settled && actions.is_empty());
    let issue = issue.and_then(|record| issue_of(observed, record, verdict.grant.as_ref(), now));
    let mut wake_at = wake_at(observed, record.as_ref(), now);
    match (issue, &status) {
        (Some(issue), None) => actions.push(Action::Issue(Box::new(issue))),
        (Some(_), Some(_)) => wake_at = Some(now),
        (None, _) => {}
    }
    Plan { actions, status, wake_at }
}

/// The record of a key that is admitted and declares what it declares now.
fn admitted(observed: &ObservedApiKey, record: &KeyRecord, now: DateTime<Utc>) -> KeyRecord {
    let key = &observed.key;
    let limit = observed.account.as_deref().map_or(0, active_api_key_limit);
    let record = record.admitted(limit);
    match &key.spec.digest {
        Some(digest) => record.declaring(digest, issue::grace_seconds(key), now),
        None => record,
    }
}

/// What a key that has not ended is to have. One that is refused for now keeps its record, so that it is the same key when it
/// is not any more.
fn wanted(
    observed: &ObservedApiKey,
    verdict: &Verdict,
    record: Option<&KeyRecord>,
    now: DateTime<Utc>,
) -> Vec<Child> {
    let Some(record) = record else { return Vec::new() };
    let key = &observed.key;
    let owner = owner(key);
    if verdict.is_entitled {
        entitled(&owner, record, verdict.grant.as_ref(), issue::grace_seconds(key), now)
    } else {
        vec![identity(&owner, record)]
    }
}

fn is_identity(child: &Child) -> bool {
    child.kind() == ChildKind::ServiceAccount
}

fn owner(key: &ApiKey) -> Owner {
    Owner::new(OwnerKind::ApiKey, &key.metadata, home(key))
}

/// Taking a key away: its rights first, its identity when what has to be remembered is.
fn take_away(observed: &ObservedApiKey, tombstones: Vec<Tombstone>) -> Vec<Action> {
    if tombstones.is_empty() {
        return teardown(&observed.children, has_finalizer(&observed.key.metadata));
    }
    let mut actions = Convergence::keeping(&observed.children, is_identity).actions;
    actions.extend(tombstones.into_iter().map(Action::Remember));
    // What is needed of the record is remembered by then: it is not made again.
    last_copy::kept(actions, &observed.children, false)
}

/// The digests that are to be remembered as revoked and are not yet: all of a revoked key's, and those that rotations ended.
/// A key that was never on record has none: else anybody could have anybody's digest remembered, by naming it in a revoked
/// object and waiting until its holder is deleted.
fn tombstones(observed: &ObservedApiKey, record: Option<&KeyRecord>, now: DateTime<Utc>) -> Vec<Tombstone> {
    let Some(record) = record else { return Vec::new() };
    let key = &observed.key;
    let is_revoked = key.spec.revoked == Some(true) || standing(key, now) == Standing::Revoked;
    let mut digests: BTreeSet<&str> = record.ended.iter().map(String::as_str).collect();
    if is_revoked {
        digests.extend(record.digests());
        digests.extend(key.spec.digest.as_deref());
    }
    let seniority = Seniority::of(&key.metadata);
    let account = home(key);
    let name = key.metadata.name.as_deref().unwrap_or_default();
    digests
        .into_iter()
        .filter(|digest| digest.parse::<crate::key_format::KeyDigest>().is_ok())
        .filter(|digest| !observed.is_remembered(digest))
        .filter(|digest| {
            let own = Claim { since: record.holds_since(digest), seniority: seniority.clone() };
            !observed.claims_on(digest).iter().any(|rival| *rival < own)
        })
        .map(|digest| Tombstone {
            shard: observed.tombstone_shard.clone(),
            account: account.to_owned(),
            digest: digest.to_owned(),
            version: record.number_of(digest),
            note: format!("{} {account}/{name}", now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
        })
        .collect()
}

/// The key that is to be made and delivered, if one is.
fn issue_of(
    observed: &ObservedApiKey,
    record: &KeyRecord,
    grant: Option<&Grant>,
    now: DateTime<Utc>,
) -> Option<Issue> {
    let key = &observed.key;
    let recipient = recipient(observed)?;
    // The kubeconfig that is delivered with a key names its namespaces: they are waited for.
    let awaits = grant.is_some_and(|grant| !grant.awaited.is_empty());
    if awaits || !issue::is_due(key, record, now) {
        return None;
    }
    let identity = observed.children.iter().find(|child| child.kind() == ChildKind::ServiceAccount)?;
    Some(Issue {
        owner: owner(key),
        home: home(key).to_owned(),
        name: key.metadata.name.clone().unwrap_or_default(),
        identity_uid: identity.uid().to_owned(),
        record: record.clone(),
        grace_seconds: issue::grace_seconds(key),
        requested_at: issue::due_request(key, now),
        recipient,
        namespaces: grant.map(|grant| {
            grant.namespaces.iter().map(|namespace| namespace.kubernetes_name.clone()).collect()
        }),
    })
}

/// When time alone changes something.
fn wake_at(
    observed: &ObservedApiKey,
    record: Option<&KeyRecord>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let key = &observed.key;
    let said = [lock::lifted_at(key, now), unused_from(key)];
    if standing(key, now) != Standing::Live {
        return said.into_iter().flatten().filter(|moment| *moment > now).min();
    }
    let grace_seconds = issue::grace_seconds(key);
    let previous =
        record.and_then(|record| record.previous.as_ref()).map(|retired| retired.ends(grace_seconds));
    let rotation = key.spec.rotation.as_ref().and_then(|rotation| rotation.requested_at);
    let moments = [key.spec.expires_at, previous, rotation];
    moments.into_iter().chain(said).flatten().filter(|moment| *moment > now).min()
}

/// Reasons that an attempt to deliver left, which only another attempt can change.
pub(super) fn is_left_by_an_attempt(reason: &str) -> bool {
    [Reason::DeliveryConflict, Reason::RecipientUnsupported, Reason::RecipientNotReady, Reason::ApplyFailed]
        .iter()
        .any(|left| left.as_str() == reason)
}

/// Whether a status says `Ready=True` of this generation.
pub(super) fn is_ready(status: Option<&keyplane_crds::ApiKeyStatus>, generation: Option<i64>) -> bool {
    status.is_some_and(|status| status.is_ready_at(generation))
}
