//! Amounts are compared as Kubernetes reads them, and what the API server stores is never drift.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyplane_core::child::Child;
use keyplane_core::plan::Action;
use keyplane_core::quantity::same_amount;
use keyplane_crds::{
    AccountSpec, ContainerDefaults, Isolation, NamespaceDefaults, Owner, OwnerKind, QuantityMap,
    QuantityText, ResourceQuotaDefaults,
};
use num_bigint::BigInt;
use proptest::prelude::*;

use crate::model::Cluster;
use crate::observe::{plan_account, plan_api_key, plan_namespace};
use crate::operations::{COLLIDING, Operation};
use crate::quantity_rows::{REFUSED, STORED_AS};
use crate::specs::{Maker, ScopeChoice};
use crate::stored_form::stored_form;
use crate::tampering::{Tampering, tamper};

const UNITS: [(&str, u32, i32); 16] = [
    ("n", 0, -9),
    ("u", 0, -6),
    ("m", 0, -3),
    ("", 0, 0),
    ("k", 0, 3),
    ("M", 0, 6),
    ("G", 0, 9),
    ("T", 0, 12),
    ("P", 0, 15),
    ("E", 0, 18),
    ("Ki", 10, 0),
    ("Mi", 20, 0),
    ("Gi", 30, 0),
    ("Ti", 40, 0),
    ("Pi", 50, 0),
    ("Ei", 60, 0),
];

/// A quantity as text, and the billionths that it is: written out in full, unlike what the core compares.
fn quantities() -> impl Strategy<Value = (String, BigInt)> {
    let digits = prop_oneof!["[0-9]{0,6}", "[1-9]00", "[0-9]{7,14}"];
    let fraction = prop::option::of(prop_oneof!["[0-9]{0,4}", "[05]0{0,3}", "[0-9]{9,12}"]);
    let unit = prop_oneof![
        3 => prop::sample::select(UNITS.to_vec()).prop_map(|(suffix, two, ten)| (suffix.to_owned(), two, ten)),
        1 => (-20..20_i32, prop::sample::select(vec!["e", "E"])).prop_map(|(ten, mark)| (format!("{mark}{ten}"), 0, ten)),
    ];
    (prop::sample::select(vec!["", "+", "-"]), digits, fraction, unit)
        .prop_filter("no text is no quantity", |(sign, digits, fraction, unit)| {
            !sign.is_empty() || !digits.is_empty() || fraction.is_some() || !unit.0.is_empty()
        })
        .prop_map(|(sign, digits, fraction, (suffix, two, ten))| {
            let decimals = fraction.clone().unwrap_or_default();
            let number = format!("0{digits}{decimals}").parse::<BigInt>().unwrap() << two;
            let power = ten - i32::try_from(decimals.len()).unwrap() + 9;
            let base = BigInt::from(10).pow(power.unsigned_abs());
            let mut billionths = if power >= 0 { number * base } else { (number + &base - 1) / base };
            let largest = BigInt::from(i64::MAX) * 1_000_000_000;
            if two > 0 && billionths > largest {
                billionths = largest;
            }
            let point = fraction.map(|decimals| format!(".{decimals}")).unwrap_or_default();
            let text = format!("{sign}{digits}{point}{suffix}");
            (text, if sign == "-" { -billionths } else { billionths })
        })
}

/// Every amount of the table, in a quota and in every place of a limit range.
fn defaults(text: &str) -> NamespaceDefaults {
    let amount = |name: &str| (name.to_owned(), QuantityText::Text(text.to_owned()));
    NamespaceDefaults {
        pod_security: None,
        resource_quota: Some(ResourceQuotaDefaults {
            hard: QuantityMap::from([amount("pods"), amount("cpu")]),
        }),
        limit_range: Some(ContainerDefaults {
            default: QuantityMap::from([amount("memory")]),
            default_request: QuantityMap::from([amount("cpu")]),
            max: QuantityMap::from([amount("storage")]),
        }),
        isolation: Some(Isolation::Isolated),
    }
}

/// Every kind of object that Keyplane makes, as it is wanted.
fn every_child(defaults: NamespaceDefaults) -> Vec<Child> {
    let owners = vec![Owner { kind: OwnerKind::User, name: "ada".to_owned(), namespace: None }];
    let account = AccountSpec { owners, limits: None, namespace_defaults: Some(defaults) };
    let mut cluster = Cluster::new();
    let reconcile = Operation::Reconcile { seed: 0, writes: usize::MAX };
    let scope = ScopeChoice::All;
    let key =
        Operation::CreateKey { home: 0, name: 1, scope, maker: Maker::Holder(1), lasts_half_hours: None };
    for step in [
        Operation::CreateAccount(0, account),
        reconcile.clone(),
        Operation::CreateNamespace(0, 1),
        reconcile.clone(),
        key,
    ] {
        step.apply(&mut cluster, COLLIDING);
    }
    // What was made so far is forgotten, step by step, so that every plan wants to make its part again.
    let now = cluster.now;
    let key = Arc::new(cluster.api_keys.values().next().unwrap().clone());
    let mut actions = plan_api_key(&cluster, &key, now).actions;
    cluster.objects.retain(|place, _| place.name == "a" && place.namespace.is_none());
    let namespace = Arc::new(cluster.namespaces.values().next().unwrap().clone());
    actions.extend(plan_namespace(&cluster, &namespace, now).actions);
    cluster.objects.clear();
    let account = Arc::new(cluster.accounts.values().next().unwrap().clone());
    actions.extend(plan_account(&cluster, &account, now).actions);
    actions
        .into_iter()
        .filter_map(|action| match action {
            Action::Create(child) => Some(child),
            _ => None,
        })
        .collect()
}

#[test]
fn what_the_api_server_stores_is_the_amount_that_was_written() {
    for (written, stored) in STORED_AS {
        assert!(
            same_amount(written, stored) && same_amount(stored, written),
            "{written} is stored as {stored}"
        );
    }
}

#[test]
fn text_that_kubernetes_refuses_equals_only_itself() {
    for refused in REFUSED {
        assert!(same_amount(refused, refused));
        assert!(
            STORED_AS
                .iter()
                .all(|(written, stored)| !same_amount(refused, written) && !same_amount(refused, stored))
        );
    }
}

#[test]
fn every_object_matches_what_the_api_server_makes_of_it_for_every_amount() {
    for (written, _) in STORED_AS {
        let children = every_child(defaults(written));
        let kinds: BTreeSet<_> = children.iter().map(Child::kind).collect();
        assert_eq!(kinds.len(), 7, "every kind is made: {kinds:?}");
        for desired in &children {
            let stored = stored_form(desired);
            assert!(stored.matches(desired), "{written}: {desired:#?}\n{stored:#?}");
            assert!(stored.matches(&stored), "{written}: {stored:#?}");
        }
    }
}

#[test]
fn every_object_whose_content_was_changed_is_drift() {
    for desired in every_child(defaults("2")) {
        let mut cluster = Cluster::new();
        let place = desired.reference();
        cluster.objects.insert(place.clone(), stored_form(&desired));
        tamper(&mut cluster, &place, Tampering::Content);
        assert!(!cluster.objects[&place].matches(&desired), "{place}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn amounts_are_the_same_exactly_when_their_billionths_are(
        (left, left_amount) in quantities(),
        (right, right_amount) in quantities(),
    ) {
        prop_assert_eq!(same_amount(&left, &right), left_amount == right_amount, "{} and {}", left, right);
    }

    #[test]
    fn an_amount_in_another_unit_is_the_same_and_one_billionth_more_is_not(
        number in 1..1_000_000_000_u64,
        zeros in 0..6_usize,
        (suffix, two, ten) in prop::sample::select(UNITS.to_vec()),
    ) {
        let written = format!("{number}.{}{suffix}", "0".repeat(zeros));
        let value = BigInt::from(number) << two;
        let billionths = value * BigInt::from(10).pow((ten + 9).unsigned_abs());
        let largest = BigInt::from(i64::MAX) * 1_000_000_000;
        let billionths = if two > 0 { billionths.min(largest) } else { billionths };
        let (same, more) = (format!("{billionths}n"), format!("{}n", &billionths + 1));
        prop_assert!(same_amount(&written, &same));
        prop_assert!(!same_amount(&written, &more));
    }

    #[test]
    fn the_same_amount_is_an_equivalence(
        texts in prop::collection::vec(prop_oneof![quantities().prop_map(|(text, _)| text), "[0-2.eEKim+-]{0,4}"], 3),
    ) {
        for text in &texts {
            prop_assert!(same_amount(text, text));
            for other in &texts {
                prop_assert_eq!(same_amount(text, other), same_amount(other, text));
                for third in &texts {
                    let is_linked = same_amount(text, other) && same_amount(other, third);
                    prop_assert!(!is_linked || same_amount(text, third));
                }
            }
        }
    }

    #[test]
    fn no_text_is_too_strange(
        left in prop_oneof![".*", "[-+.0-9]{0,80}[a-zA-Z]{0,3}[-+0-9]{0,12}"],
        right in prop_oneof![".*", "[-+.0-9]{0,80}[a-zA-Z]{0,3}[-+0-9]{0,12}"],
    ) {
        prop_assert!(same_amount(&left, &left));
        prop_assert_eq!(same_amount(&left, &right), same_amount(&right, &left));
    }
}
