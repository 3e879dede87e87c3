//! The laws of merging: nothing of anybody else's is lost, twice is once, and what is written is what is read.

use keyplane_credential_plugin::failure::FailureKind;
use keyplane_credential_plugin::kubeconfig::document::to_yaml;
use keyplane_credential_plugin::kubeconfig::entries::{Cluster, Context, EXTENSION, Entries, User};
use keyplane_credential_plugin::kubeconfig::merge::{Permission, merge};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Any JSON value, with the texts that YAML 1.1 and 1.2 read differently.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,8}",
        prop::sample::select(vec![
            "yes",
            "no",
            "on",
            "off",
            "y",
            "n",
            "~",
            "null",
            "true",
            "0123",
            "0o17",
            "1_000",
            "1:30",
            "2001-01-01",
            "=",
            "<<",
            "- a",
            "a: b",
            "#c",
            " lead",
            "trail ",
            "multi\nline\n",
            "\ttab",
            "*a",
            "&a",
            "!t",
            "{",
            "[",
            ".inf",
            "0x1F",
            "1e3",
            "",
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(text.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A kubeconfig with two foreign clusters, a foreign user and context, and unknown things anywhere.
fn config() -> impl Strategy<Value = Value> {
    [value(), value(), value(), value()].prop_map(|[a, b, c, d]| {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "x-unknown": a,
            "clusters": [{"name": "theirs", "cluster": {"server": "s", "x": b}}, {"name": "more", "cluster": null}],
            "users": [{"name": "theirs", "user": {"token": "t", "x": c}}],
            "contexts": [{"name": "theirs", "context": {"cluster": "theirs", "user": "theirs", "x": d}}],
            "current-context": "theirs",
        })
    })
}

pub(crate) fn entries() -> Entries {
    Entries {
        cluster: Some(Cluster {
            name: "c".to_owned(),
            server: "https://c.example".to_owned(),
            ca: Some("QUJD".to_owned()),
            is_users_word: true,
            exchange: json!({"server": "https://exchange.example"}),
        }),
        user: Some(User {
            name: "u".to_owned(),
            exec: json!({"command": "kubectl-keyplane", "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", "args": ["get-token"]}),
        }),
        contexts: vec![Context {
            name: "x".to_owned(),
            cluster: "c".to_owned(),
            user: "u".to_owned(),
            namespace: None,
        }],
        contexts_follow_cluster: false,
        current_context: Some("x".to_owned()),
    }
}

proptest! {
    #[test]
    fn everything_that_was_there_is_still_there_and_twice_is_once(config in config()) {
        let once = merge(config.clone(), &entries(), Permission::default(), "file").unwrap();
        for (field, old) in config.as_object().unwrap() {
            match old.as_array() {
                Some(list) if field != "x-unknown" => {
                    prop_assert_eq!(&once[field].as_array().unwrap()[..list.len()], list.as_slice());
                    prop_assert_eq!(once[field].as_array().unwrap().len(), list.len() + 1);
                }
                _ => prop_assert_eq!(&once[field], old),
            }
        }
        let twice = merge(once.clone(), &entries(), Permission::default(), "file").unwrap();
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn a_cluster_of_another_exchange_is_taken_over_only_on_demand(
        theirs in value(),
        config in config(),
        is_users_word in any::<bool>(),
        is_named_twice in any::<bool>(),
    ) {
        let mut ours = entries();
        let cluster = ours.cluster.as_mut().unwrap();
        cluster.is_users_word = is_users_word;
        let mut config = config;
        let mut extensions = vec![json!({"name": EXTENSION, "extension": theirs})];
        if is_named_twice {
            extensions.insert(0, json!({"name": EXTENSION, "extension": cluster.exchange}));
        }
        config["clusters"].as_array_mut().unwrap().push(json!({"name": "c", "cluster": {
            "server": cluster.server,
            "certificate-authority-data": cluster.ca,
            "extensions": extensions,
        }}));
        let says_nothing = theirs.is_null() || theirs.as_object().is_some_and(serde_json::Map::is_empty);
        let merged = merge(config.clone(), &ours, Permission::default(), "file");
        prop_assert_eq!(merged.is_ok(), says_nothing);
        if let Err(failure) = merged {
            prop_assert_eq!(failure.kind(), FailureKind::File);
            prop_assert!(failure.to_string().contains("choose another name with --cluster, or give --replace"));
        }
        let replaced = merge(config, &ours, Permission { replace: true, set_current: false }, "file").unwrap();
        let cluster = replaced["clusters"].as_array().unwrap().last().unwrap();
        let extension = cluster.pointer("/cluster/extensions/0").unwrap();
        prop_assert_eq!(&extension["extension"], &ours.cluster.unwrap().exchange);
    }

    #[test]
    fn what_is_written_as_yaml_is_read_back_the_same(config in config()) {
        let text = to_yaml(&config).unwrap();
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        prop_assert_eq!(read, config, "{}", *text);
    }

    #[test]
    fn any_value_is_merged_or_refused_without_a_panic(config in value()) {
        let _ = merge(config, &entries(), Permission { replace: true, set_current: true }, "file");
    }
}
