//! A key's life goes one way.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use keyplane_core::api_key::{KeyRecord, Presented, Standing, admit, standing};
use keyplane_core::child::{Child, ChildKind};
use keyplane_core::ownership::FINALIZER;
use keyplane_core::plan::Action;
use keyplane_core::readiness::{Readiness, Reason, Status};
use keyplane_crds::{ApiKey, ApiKeySpec, ApiKeyState, ApiKeyStatus, KubernetesExec, Scope};
use proptest::prelude::*;

use crate::driver::converge;
use crate::model::Cluster;
use crate::observe::{children_of, plan_api_key};
use crate::observe_keys::{candidates, record_of};
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
}

/// Whatever digest of a revoked key is presented: it is this key's no more.
fn assert_refused_everywhere(cluster: &Cluster, key: &ApiKey) {
    let record = record_of(cluster, key);
    let recorded = record.as_ref().map(KeyRecord::digests).unwrap_or_default();
    for digest in key.spec.digest.as_deref().into_iter().chain(recorded) {
        let presented = Presented { digest, address: None, now: cluster.now };
        let admitted = admit(&candidates(cluster, digest), presented);
        assert!(!admitted.is_ok_and(|admitted| admitted.key.metadata.uid == key.metadata.uid), "{key:#?}");
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
            let had = made_for(&cluster, key);
            let is_identity = |child: &&Child| child.kind() == ChildKind::ServiceAccount;
            let plan = plan_api_key(&cluster, &Arc::new(key.clone()), cluster.now);
            let rank = |action: &Action| match action {
                Action::Delete { .. } => Some(0),
                Action::Remember(_) => Some(1),
                _ => None,
            };
            let ranks: Vec<Option<u8>> = plan.actions.iter().map(rank).collect();
            prop_assert!(ranks.is_sorted() && !ranks.contains(&None), "{:#?}", plan.actions);
            // The identity, which gives nothing by itself, waits until the digests are remembered.
            let deleted = ranks.iter().filter(|rank| **rank == Some(0)).count();
            let kept = usize::from(ranks.contains(&Some(1)));
            let identities = had.iter().filter(is_identity).count();
            prop_assert_eq!(deleted, had.len() - identities.min(kept));
            assert_refused_everywhere(&cluster, key);
        }
        converge(&mut cluster, !seed);
        for step in &steps {
            step.apply(&mut cluster, COLLIDING);
        }
        converge(&mut cluster, seed);
        for key in cluster.api_keys.values().filter(|key| key.spec.revoked == Some(true)) {
            let left = made_for(&cluster, key);
            prop_assert!(left.is_empty(), "{left:#?}");
            assert_refused_everywhere(&cluster, key);
        }
    }
}
