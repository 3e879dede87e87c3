//! Invariant I7 and scope resolution: no key ever reaches what its account does not own. The single steps are judged
//! by `lawful.rs` in every run of the model; here hostile histories are many and long, and the resolution is asked
//! directly.

use std::collections::BTreeSet;

use keyplane_core::api_key::{OwnedNamespace, ScopeError, resolve};
use keyplane_crds::{ClusterRoleName, GrantedNamespace, KubernetesExec, Scope};
use proptest::prelude::*;

use crate::driver::converge;
use crate::entitlement::assert_exact;
use crate::model::Cluster;
use crate::operations::{COLLIDING, Operation, any_operation, history};

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-d]", 1 => ".{0,6}"]
}

fn owned() -> impl Strategy<Value = Vec<OwnedNamespace>> {
    // As in a cluster, an id and a name belong to one namespace alone.
    let namespaces = prop::collection::btree_map(texts(), (texts(), any::<bool>()), 0..5);
    namespaces.prop_map(|by_id| {
        let mut names = BTreeSet::new();
        let one = |(id, (name, provisioned)): (String, (String, bool))| OwnedNamespace {
            namespace: GrantedNamespace { id, kubernetes_name: format!("acme-{name}"), name },
            provisioned,
        };
        by_id.into_iter().map(one).filter(|one| names.insert(one.namespace.name.clone())).collect()
    })
}

fn roles() -> impl Strategy<Value = ClusterRoleName> {
    prop::sample::select(vec![ClusterRoleName::View, ClusterRoleName::Edit, ClusterRoleName::Admin])
}

fn any_scope() -> impl Strategy<Value = Scope> {
    let flag = || prop_oneof![2 => Just(None), 1 => Just(Some(false)), 1 => Just(Some(true))];
    let list = || prop_oneof![1 => Just(Vec::new()), 2 => prop::collection::vec(texts(), 0..4)];
    let exec = (list(), list(), flag(), prop::option::of(roles())).prop_map(
        |(namespace_ids, namespaces, all_namespaces, role)| KubernetesExec {
            namespace_ids,
            namespaces,
            all_namespaces,
            role,
        },
    );
    (flag(), flag(), flag(), prop::option::weighted(0.7, exec)).prop_map(
        |(all, inference, ssh_keys, kubernetes_exec)| Scope { all, inference, ssh_keys, kubernetes_exec },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn only_owned_and_provisioned_namespaces_are_granted_and_only_owned_ones_awaited(
        scope in any_scope(),
        owned in owned(),
    ) {
        let Ok(Some(grant)) = resolve(&scope, &owned) else { return Ok(()) };
        for (namespaces, provisioned) in [(&grant.namespaces, true), (&grant.awaited, false)] {
            for namespace in namespaces {
                let expected = OwnedNamespace { namespace: namespace.clone(), provisioned };
                prop_assert!(owned.contains(&expected));
            }
        }
    }

    #[test]
    fn one_namespace_that_is_not_owned_takes_the_whole_grant(
        scope in any_scope(),
        owned in owned(),
        stranger in "stranger-[a-z]{4}",
        by_id in any::<bool>(),
    ) {
        let mut scope = scope;
        let exec = scope.kubernetes_exec.get_or_insert_default();
        if by_id { exec.namespace_ids.push(stranger.clone()) } else { exec.namespaces.push(stranger.clone()) }
        match resolve(&scope, &owned) {
            Ok(grant) => prop_assert!(false, "granted {grant:?}"),
            Err(error @ ScopeError::NotOwned(_)) => prop_assert!(error.to_string().contains(&stranger)),
            Err(_) => {}
        }
    }

    #[test]
    fn a_namespace_that_is_not_owned_any_more_is_granted_no_more(
        scope in any_scope(),
        owned in owned(),
        at in any::<prop::sample::Index>(),
    ) {
        prop_assume!(!owned.is_empty());
        let mut left = owned.clone();
        let gone = left.remove(at.index(owned.len())).namespace;
        if let Ok(Some(grant)) = resolve(&scope, &left) {
            prop_assert!(!grant.namespaces.contains(&gone) && !grant.awaited.contains(&gone));
        }
    }

    #[test]
    fn all_namespaces_are_exactly_those_that_stand(owned in owned(), role in roles(), everything in any::<bool>()) {
        let exec = KubernetesExec { all_namespaces: Some(true), role: Some(role), ..KubernetesExec::default() };
        let scope = if everything {
            Scope { all: Some(true), ..Scope::default() }
        } else {
            Scope { kubernetes_exec: Some(exec), ..Scope::default() }
        };
        let grant = resolve(&scope, &owned).unwrap().unwrap();
        let standing = owned.iter().filter(|one| one.provisioned).map(|one| one.namespace.clone()).collect();
        prop_assert_eq!(grant.namespaces, standing);
        prop_assert!(grant.awaited.is_empty());
        prop_assert_eq!(grant.role, if everything { ClusterRoleName::Admin } else { role });
    }

    #[test]
    fn scopes_without_kubernetes_grant_nothing_and_two_scopes_at_once_are_none(
        scope in any_scope(),
        owned in owned(),
    ) {
        let exec = scope.kubernetes_exec.is_some();
        let flags = [scope.all, scope.inference, scope.ssh_keys].map(|flag| flag == Some(true));
        let count = flags.iter().filter(|flag| **flag).count() + usize::from(exec);
        let resolved = resolve(&scope, &owned);
        if count != 1 {
            prop_assert!(resolved.is_err());
        } else if !exec && scope.all != Some(true) {
            prop_assert_eq!(resolved, Ok(None));
        }
    }

    #[test]
    fn the_order_of_lists_and_repetitions_do_not_matter(scope in any_scope(), owned in owned()) {
        let mut turned = scope.clone();
        if let Some(exec) = &mut turned.kubernetes_exec {
            exec.namespace_ids.reverse();
            exec.namespaces.reverse();
            exec.namespace_ids.extend(exec.namespace_ids.clone());
        }
        let backwards: Vec<OwnedNamespace> = owned.iter().rev().cloned().collect();
        prop_assert_eq!(resolve(&scope, &owned).ok(), resolve(&turned, &backwards).ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn renames_relabels_forged_bindings_and_colliding_names_never_yield_access(
        steps in history(any_operation()),
        seed in any::<u64>(),
        writes in 0..9_usize,
    ) {
        let mut cluster = Cluster::new();
        for (at, step) in steps.iter().enumerate() {
            step.apply(&mut cluster, COLLIDING);
            // Every state on the way is one in which the controller may do a little and be killed.
            Operation::Reconcile { seed: seed ^ at as u64, writes }.apply(&mut cluster, COLLIDING);
        }
        converge(&mut cluster, seed);
        assert_exact(&cluster);
    }
}
