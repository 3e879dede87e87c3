//! Invariant I8: no rule panics, whatever stands in an object. Here nothing is as admission would have it: texts are
//! arbitrary, metadata is missing, times lie at the ends of what can be held.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_core::account::{self, Holdings, ObservedAccount};
use keyplane_core::api_key::{
    self, KeyRecord, Known, ObservedApiKey, OwnedNamespace, Presented, VERSIONS_ANNOTATION, admit, describe,
    shard_name,
};
use keyplane_core::child::{Child, ChildKind};
use keyplane_core::namespace::{self, ObservedNamespace};
use keyplane_core::ownership::owner_uid;
use keyplane_core::plan::{Action, plan_orphans, teardown};
use keyplane_core::ssh_key::{self, KeySummary, ObservedSshKey, SshKeyFacts};
use proptest::prelude::*;

use crate::strange::{
    accounts, addresses, api_keys, children, claims, cores, digests, moments, namespaces, recipients,
    records, ssh_keys,
};

/// The objects, those that may carry a record carrying this one.
fn recorded(children: &[Child], record: Option<&KeyRecord>) -> Vec<Child> {
    let mut children = children.to_vec();
    if let Some(record) = record {
        for child in &mut children {
            let annotations = crate::stored_form::metadata_mut(child).annotations.get_or_insert_default();
            annotations.insert(VERSIONS_ANNOTATION.to_owned(), record.to_annotation());
        }
    }
    children
}

/// What holds of any plan, however strange what it was made for.
fn assert_modest(resource: &ObjectMeta, actions: &[Action]) {
    let is_deleting = resource.deletion_timestamp.is_some();
    assert!(!is_deleting || !actions.iter().any(Action::gives), "nothing is given to what is being deleted");
    crate::lawful::order(actions);
    crate::lawful::freed(actions);
    crate::lawful::finalizer_first(resource, actions);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_account_has_a_plan(
        account in accounts(),
        home in cores(),
        children in children(),
        (active_api_keys, ssh_keys, namespaces) in any::<(u32, u32, u32)>(),
        now in moments(),
    ) {
        let holdings = Holdings { active_api_keys, ssh_keys, namespaces };
        let account = Arc::new(account);
        let observed = ObservedAccount { account: account.clone(), home, children, holdings };
        let plan = account::plan(&observed, now);
        assert_modest(&account.metadata, &plan.actions);
    }

    #[test]
    fn any_namespace_has_a_plan(
        namespace in namespaces(),
        account in prop::option::weighted(0.8, accounts()),
        core in cores(),
        children in children(),
        ahead in any::<u32>(),
        now in moments(),
    ) {
        let (namespace, account) = (Arc::new(namespace), account.map(Arc::new));
        let observed = ObservedNamespace { namespace: namespace.clone(), account, core, children, ahead };
        assert_modest(&namespace.metadata, &namespace::plan(&observed, now).actions);
    }

    #[test]
    fn any_api_key_has_a_plan_and_an_answer(
        keys in prop::collection::vec((api_keys(), prop::option::of(records())), 1..3),
        account in prop::option::weighted(0.8, accounts()),
        namespaces in prop::collection::vec((namespaces(), cores()), 0..4),
        children in children(),
        (claims, remembered) in (claims(), prop::collection::btree_set(digests(), 0..3)),
        (rank, recipient) in (any::<u32>(), recipients()),
        (digest, address) in (digests(), addresses()),
        now in moments(),
    ) {
        let owned: Vec<OwnedNamespace> =
            namespaces.iter().filter_map(|(namespace, core)| OwnedNamespace::of(namespace, core.as_deref())).collect();
        let candidates: Vec<Known> =
            keys.into_iter().map(|(key, record)| Known { key: Arc::new(key), record }).collect();
        for Known { key, record } in &candidates {
            let observed = ObservedApiKey {
                key: key.clone(),
                account: account.clone().map(Arc::new),
                namespaces: owned.clone(),
                claims: claims.clone(),
                remembered: remembered.clone(),
                rank,
                tombstone_shard: shard_name("a", 0),
                recipient: recipient.clone(),
                children: recorded(&children, record.as_ref()),
            };
            let plan = api_key::plan(&observed, now);
            assert_modest(&key.metadata, &plan.actions);
            let grant = api_key::resolve(&key.spec.scope, &owned).ok().flatten();
            prop_assert!(!describe(&key.spec.scope, grant.as_ref()).is_empty());
        }
        let presented = Presented { digest: &digest, address, now };
        if let Ok(admitted) = admit(&candidates, presented) {
            prop_assert_ne!(admitted.key.spec.revoked, Some(true));
        }
    }

    #[test]
    fn any_ssh_key_has_a_plan(
        keys in prop::collection::vec(ssh_keys(), 1..4),
        account in prop::option::weighted(0.8, accounts()),
        limit in 0..3_u32,
        now in moments(),
    ) {
        let all: Vec<SshKeyFacts> =
            keys.iter().map(|key| SshKeyFacts::of(key, KeySummary::read(&key.spec.public_key))).collect();
        for (key, facts) in keys.iter().zip(&all) {
            let observed = ObservedSshKey {
                ssh_key: Arc::new(key.clone()),
                key: facts.key.clone(),
                account: account.clone().map(Arc::new),
                verdicts: Arc::new(ssh_key::verdicts(&facts.home, &all, limit)),
            };
            prop_assert!(ssh_key::plan(&observed, now).actions.is_empty());
        }
    }

    #[test]
    fn of_any_orphans_identities_and_anchors_are_deleted_and_nothing_that_holds_work(
        children in children(),
        has_finalizer in any::<bool>(),
    ) {
        let actions = plan_orphans(&children);
        crate::lawful::order(&actions);
        for action in &actions {
            let (Action::Delete { child, .. } | Action::Release { child, .. }) = action else {
                return Err(TestCaseError::fail(format!("a sweep only takes away: {action:?}")));
            };
            let rights = [ChildKind::RoleBinding, ChildKind::Secret, ChildKind::ServiceAccount];
            prop_assert!(rights.contains(&child.kind));
        }
        for child in children.iter().filter(|child| !child.is_terminating()) {
            let deletion = Action::Delete { child: child.reference(), uid: child.uid().to_owned() };
            let is_identity = matches!(child.kind(), ChildKind::Secret | ChildKind::ServiceAccount);
            prop_assert!(!is_identity || actions.contains(&deletion));
        }
        let steps = teardown(&children, has_finalizer);
        prop_assert_eq!(steps.contains(&Action::RemoveFinalizer), children.is_empty() && has_finalizer);
        for child in &children {
            // Neither panics; what they answer is judged where the objects are ones that can be.
            let _ = (child.matches(child), owner_uid(child.metadata()));
        }
    }
}
