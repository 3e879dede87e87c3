//! What kubectl calls the kinds and shows of them.

use anyhow::Result;
use keyplane_tests::shared::shared_installation;
use serde_json::json;

use super::{digest, namespace_for, object_in};

const LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9+8CTlTVgSHVaLqBa3MpP4VqZ9H1NfW8nYhJbBq1sD laptop";

#[tokio::test]
async fn kubectl_shows_each_kind_by_its_short_name_and_all_of_them_as_keyplane() -> Result<()> {
    let (cluster, _) = shared_installation().await?;
    let kubectl = cluster.kubectl();
    let namespace = namespace_for(cluster, "columns").await?;
    let kinds = [
        ("Account", "kpacc", json!({}), "NAME READY REASON HOME AGE"),
        ("Namespace", "kpns", json!({}), "NAME READY REASON KUBERNETES-NAME ID AGE"),
        (
            "ApiKey",
            "kpk",
            json!({"scope": {"inference": true}, "digest": digest(), "displayName": "Seen"}),
            "NAME STATE ACCESS LAST-USED EXPIRES PREFIX REASON AGE",
        ),
        ("SshKey", "kpssh", json!({"publicKey": LINE}), "NAME READY REASON TYPE FINGERPRINT DEFAULT AGE"),
    ];
    // An account of its own name, not of the namespace's: a running Keyplane would find that one taken.
    let account = format!("seen-{namespace}");
    for (kind, short, spec, columns) in kinds {
        let name = if kind == "Account" { account.as_str() } else { "seen" };
        let place = (kind != "Account").then_some(namespace.as_str());
        let object = object_in(place, kind, name, &spec);
        kubectl.apply(&object.to_string()).await?;
        let seen = kubectl.run(["get", short, name, "-n", &namespace]).await?;
        let header = seen.lines().next().unwrap_or_default();
        assert_eq!(header.split_whitespace().collect::<Vec<_>>().join(" "), columns, "{seen}");
    }
    let wide = kubectl.run(["get", "kpk", "seen", "-n", &namespace, "-o", "wide"]).await?;
    for column in ["USES", "LAST-ADDRESS", "DISPLAY-NAME"] {
        assert!(wide.contains(column), "{column} is not in:\n{wide}");
    }
    assert!(wide.contains("Seen"), "{wide}");

    let all = kubectl.run(["get", "keyplane", "-A", "-o", "name"]).await?;
    for wanted in [
        &format!("account.keyplane.dev/{account}"),
        "namespace.keyplane.dev/seen",
        "apikey.keyplane.dev/seen",
        "sshkey.keyplane.dev/seen",
    ] {
        assert!(all.lines().any(|line| line == wanted), "{wanted} is not in:\n{all}");
    }
    kubectl.run(["delete", "--wait=false", "account.keyplane.dev", &account]).await?;
    kubectl.run(["delete", "--wait=false", "namespace", &namespace]).await?;
    Ok(())
}
