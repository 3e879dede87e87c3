//! A key's life goes one way, and only a key that is alive, settled and the oldest of its digest is admitted.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use keyplane_core::api_key::{Refusal, Standing, admit, reaches_kubernetes, standing};
use keyplane_core::child::Child;
use keyplane_core::ownership::FINALIZER;
use keyplane_core::plan::Action;
use keyplane_core::readiness::{Readiness, Reason, Status};
use keyplane_crds::{ApiKey, ApiKeySpec, ApiKeyState, ApiKeyStatus, KubernetesExec, Scope};
use proptest::prelude::*;

use crate::driver::converge;
use crate::model::Cluster;
use crate::observe::{children_of, plan_api_key};
use crate::operations::{COLLIDING, any_operation, history};
use crate::specs;

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn metadata(created: i64, uid: u32, is_deleting: bool) -> ObjectMeta {
    let time = |seconds| Time(Timestamp::from_second(1_800_000_000 + seconds).unwrap());
    ObjectMeta {
        name: Some(format!("key-{uid}")),
        namespace: Some("a".to_owned()),
        uid: Some(format!("{uid:08x}")),
        generation: Some(2),
        creation_timestamp: Some(time(created)),
        deletion_timestamp: is_deleting.then(|| time(created)),
        finalizers: is_deleting.then(|| vec![FINALIZER.to_owned()]),
        ..ObjectMeta::default()
    }
}

fn any_status() -> impl Strategy<Value = ApiKeyStatus> {
    use ApiKeyState as S;
    let any_state = prop::option::of(prop::sample::select(vec![
        S::Pending,
        S::Active,
        S::Expired,
        S::Revoked,
        S::Invalid,
    ]));
    let reasons =
        vec![Reason::Active, Reason::Provisioning, Reason::NamespaceNotOwned, Reason::DuplicateDigest];
    let readiness = (any::<bool>(), prop::sample::select(reasons), 1..4_i64);
    (any_state, prop::option::of(readiness)).prop_map(|(state, readiness)| {
        let unsaid = ApiKeyStatus { state, ..ApiKeyStatus::default() };
        match readiness {
            None => unsaid,
            Some((ready, reason, generation)) => {
                let readiness = Readiness { ready, reason, message: "said".to_owned() };
                unsaid.saying(&readiness, &[], Some(generation), moment(0))
            }
        }
    })
}

fn scopes() -> impl Strategy<Value = Scope> {
    let exec = KubernetesExec { all_namespaces: Some(true), ..KubernetesExec::default() };
    prop_oneof![
        Just(Scope { all: Some(true), ..Scope::default() }),
        Just(Scope { inference: Some(true), ..Scope::default() }),
        Just(Scope { kubernetes_exec: Some(exec), ..Scope::default() }),
    ]
}

fn keys() -> impl Strategy<Value = ApiKey> {
    let times = (0..6_i64, any::<u32>(), prop::bool::weighted(0.2), prop::option::of(-3..12_i64));
    let revoked = prop::option::weighted(0.4, any::<bool>());
    (times, scopes(), revoked, prop::option::of(any_status())).prop_map(
        |((created, uid, is_deleting, end), scope, revoked, status)| ApiKey {
            metadata: metadata(created, uid, is_deleting),
            spec: ApiKeySpec {
                scope,
                expires_at: end.map(moment),
                digest: Some(specs::digest(1)),
                revoked,
                ..ApiKeySpec::default()
            },
            status,
        },
    )
}

/// The key with the status that the controller gives it at this moment.
fn settled_at(key: &ApiKey, now: DateTime<Utc>) -> ApiKey {
    let plan = plan_api_key(&Cluster::new(), &Arc::new(key.clone()), now);
    ApiKey { status: plan.status.or_else(|| key.status.clone()), ..key.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_revoked_key_is_revoked_at_any_time_and_whatever_its_status_says(
        mut key in keys(),
        status in prop::option::of(any_status()),
        now in -5..20_i64,
    ) {
        key.spec.revoked = Some(true);
        key.status = status;
        let expected = if key.metadata.deletion_timestamp.is_some() { Standing::Deleting } else { Standing::Revoked };
        prop_assert_eq!(standing(&key, moment(now)), expected);
    }

    #[test]
    fn what_is_over_stays_over_while_time_goes_on(key in keys(), now in -5..20_i64, later in 0..1_000_000_i64) {
        let before = standing(&key, moment(now));
        let after = standing(&key, moment(now + later));
        if before == Standing::Live {
            prop_assert!(matches!(after, Standing::Live | Standing::Expired));
        } else {
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn once_the_status_says_expired_or_revoked_no_clock_brings_the_key_back(
        key in keys(),
        now in -5..20_i64,
        other in -1_000_000..1_000_000_i64,
    ) {
        let settled = settled_at(&key, moment(now));
        let state = settled.status.as_ref().and_then(|status| status.state);
        if matches!(standing(&key, moment(now)), Standing::Expired | Standing::Revoked) {
            prop_assert!(matches!(state, Some(ApiKeyState::Expired | ApiKeyState::Revoked)));
            prop_assert_ne!(standing(&settled, moment(other)), Standing::Live);
            let again = settled_at(&settled, moment(other));
            prop_assert_eq!(again.status.unwrap().state, state);
        }
    }

    #[test]
    fn a_key_that_was_born_expired_is_invalid_and_can_be_mended(
        mut key in keys(),
        early in 0..100_i64,
        now in 0..20_i64,
        late in 1..100_i64,
    ) {
        key.spec.revoked = None;
        key.status = None;
        key.metadata.deletion_timestamp = None;
        let created = keyplane_core::seniority::Seniority::of(&key.metadata).created();
        key.spec.expires_at = Some(created - chrono::TimeDelta::seconds(early));
        prop_assert_eq!(standing(&key, moment(now)), Standing::ExpiredAtCreation);
        let mut settled = settled_at(&key, moment(now));
        prop_assert_eq!(settled.status.as_ref().unwrap().state, Some(ApiKeyState::Invalid));
        settled.spec.expires_at = Some(created.max(moment(now)) + chrono::TimeDelta::seconds(late));
        prop_assert_eq!(standing(&settled, moment(now)), Standing::Live);
    }

    #[test]
    fn only_the_oldest_live_settled_key_with_kubernetes_in_its_scope_is_admitted(
        candidates in prop::collection::vec(keys(), 0..4),
        now in -5..20_i64,
    ) {
        let now = moment(now);
        let candidates: Vec<Arc<ApiKey>> = candidates.into_iter().map(Arc::new).collect();
        let age = |key: &Arc<ApiKey>| (key.metadata.creation_timestamp.clone(), key.metadata.uid.clone());
        let oldest = candidates.iter().min_by_key(|key| age(key));
        let is_admissible = |key: &&Arc<ApiKey>| {
            standing(key, now) == Standing::Live
                && reaches_kubernetes(&key.spec.scope)
                && key.status.as_ref().is_some_and(|status| status.is_ready_at(key.metadata.generation))
        };
        let expected = oldest.filter(is_admissible);
        let admitted = admit(&candidates, now);
        prop_assert_eq!(admitted.as_ref().ok().map(|key| age(key)), expected.map(age));
        // What is over, or unknown, is not told apart.
        if oldest.is_none_or(|key| standing(key, now) != Standing::Live) {
            prop_assert_eq!(admitted, Err(Refusal::Unknown));
        }
    }

    #[test]
    fn a_forged_ready_status_admits_no_key_that_is_over_and_no_duplicate(
        candidates in prop::collection::vec(keys(), 1..4),
        now in -5..20_i64,
    ) {
        let now = moment(now);
        let forged: Vec<Arc<ApiKey>> = candidates
            .iter()
            .map(|key| {
                let status = ApiKeyStatus { state: Some(ApiKeyState::Active), ..ApiKeyStatus::default() };
                let readiness = Readiness::ready(Reason::Active, "forged");
                let status = Some(status.saying(&readiness, &[], key.metadata.generation, now));
                Arc::new(ApiKey { status, ..key.clone() })
            })
            .collect();
        let Ok(admitted) = admit(&forged, now) else { return Ok(()) };
        prop_assert_ne!(admitted.spec.revoked, Some(true));
        prop_assert!(admitted.spec.expires_at.is_none_or(|end| end > now));
        prop_assert!(admitted.metadata.deletion_timestamp.is_none());
        let age = |key: &ApiKey| (key.metadata.creation_timestamp.clone(), key.metadata.uid.clone());
        prop_assert!(candidates.iter().all(|key| age(admitted) <= age(key)));
    }
}

fn made_for(cluster: &Cluster, key: &ApiKey) -> Vec<Child> {
    children_of(cluster, key.metadata.uid.as_deref().unwrap(), key.metadata.namespace.as_deref().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn revoking_takes_everything_away_in_one_plan_and_nothing_gives_it_back(
        steps in history(any_operation()),
        seed in any::<u64>(),
    ) {
        let mut cluster = Cluster::new();
        for step in &steps {
            step.apply(&mut cluster, COLLIDING);
        }
        converge(&mut cluster, seed);
        for key in cluster.api_keys.values_mut() {
            key.spec.revoked = Some(true);
            key.metadata.generation = key.metadata.generation.map(|generation| generation + 1);
        }
        for key in cluster.api_keys.values() {
            let had = made_for(&cluster, key).len();
            let plan = plan_api_key(&cluster, &Arc::new(key.clone()), cluster.now);
            let is_deletion = |action: &Action| matches!(action, Action::Delete { .. });
            prop_assert!(plan.actions.iter().all(is_deletion));
            prop_assert_eq!(plan.actions.len(), had);
            prop_assert!(admit(&[Arc::new(key.clone())], cluster.now).is_err());
        }
        converge(&mut cluster, !seed);
        for step in &steps {
            step.apply(&mut cluster, COLLIDING);
        }
        converge(&mut cluster, seed);
        for key in cluster.api_keys.values().filter(|key| key.spec.revoked == Some(true)) {
            let left = made_for(&cluster, key);
            prop_assert!(left.is_empty(), "{left:#?}");
            prop_assert!(admit(&[Arc::new(key.clone())], cluster.now).is_err());
        }
    }
}
