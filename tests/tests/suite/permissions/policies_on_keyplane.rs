//! What the policies keep Keyplane's own controller to: each attempt is one that RBAC lets pass.

use anyhow::Result;
use serde_json::{Value, json};

use super::attempt::Outcome::{Accepted, AcceptedOrGone, Refused};
use super::attempt::{
    ADMINISTRATOR, Attempt, CONTROLLER, Stage, namespace, person, role_binding, service_account,
};

const ONLY_LABELLED: &str =
    "changes and deletes only namespaces labelled keyplane.dev/account or keyplane.dev/owner-uid";
const NOT_MOVED: &str = "does not move a namespace from one account to another";
const ONLY_ACCOUNTS: &str = "creates only namespaces of an account";
const WRITES_ONLY: &str = "writes only in namespaces labelled keyplane.dev/account";
const FIVE_ROLES: &str = "binds only the ClusterRoles keyplane:view, keyplane:edit, keyplane:admin";
const WHERE: &str =
    "binds keyplane:account-owner and keyplane:delivery in an account's home namespace, and the other";
const ONLY_KEYS: &str = "binds keyplane:view, keyplane:edit and keyplane:admin only to keys";
const SPEC: &str = "never changes a spec";

fn path(name: &str) -> String {
    format!("/api/v1/namespaces/{name}")
}

fn label(name: &str, account: Option<&str>) -> Attempt {
    Attempt::merge(path(name), json!({"metadata": {"labels": {"keyplane.dev/account": account, "a": "b"}}}))
}

#[tokio::test]
async fn the_controller_touches_only_accounts_namespaces() -> Result<()> {
    let stage = Stage::set("touches").await?;
    let (home, other) = (stage.home.as_str(), format!("{}-other", stage.home));
    let create = |name: &str, account| Attempt::create(namespace(name, account));
    let mut rows = vec![
        (create(&other, Some(home)), Accepted),
        (create(&other, None), Refused(ONLY_ACCOUNTS)),
        (create(&other, Some("")), Refused(ONLY_ACCOUNTS)),
        (create("somebody-elses", Some(home)), Refused(ONLY_ACCOUNTS)),
        (create(&format!("{home}other"), Some(home)), Refused(ONLY_ACCOUNTS)),
        (create("kube-things", Some("kube")), Refused(ONLY_ACCOUNTS)),
        (create("keyplane-things", Some("keyplane")), Refused(ONLY_ACCOUNTS)),
        (label(home, Some(home)), Accepted),
        (label(&stage.web, Some(home)), Accepted),
        (label(&stage.web, Some("another")), Refused(NOT_MOVED)),
        (label(&stage.web, None), Refused(NOT_MOVED)),
        (Attempt::delete(path(&stage.web)), Accepted),
        (Attempt::delete(path(home)), Accepted),
    ];
    for foreign in [stage.plain.as_str(), "keyplane-system", "keyplane-identities"] {
        rows.push((label(foreign, Some(foreign)), Refused(ONLY_LABELLED)));
        rows.push((Attempt::delete(path(foreign)), Refused(ONLY_LABELLED)));
    }
    // The API server itself keeps these from being deleted.
    for foreign in ["default", "kube-system"] {
        rows.push((label(foreign, Some(foreign)), Refused(ONLY_LABELLED)));
    }
    stage.each(CONTROLLER, rows).await?;
    stage.clear().await
}

/// Of two labels either is enough, so that one that somebody took off does not keep a namespace from being mended.
#[tokio::test]
async fn the_controller_mends_the_label_of_a_namespace_of_its_own() -> Result<()> {
    let stage = Stage::set("mends").await?;
    let stripped = format!("{}-stripped", stage.home);
    let labels = json!({"keyplane.dev/owner-uid": "some-uid"});
    let metadata = json!({"name": stripped, "labels": labels});
    Attempt::create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
        .done(stage.cluster, ADMINISTRATOR)
        .await?;
    let rows =
        vec![(label(&stripped, Some(&stage.home)), Accepted), (Attempt::delete(path(&stripped)), Accepted)];
    stage.each(CONTROLLER, rows).await?;
    Attempt::delete(path(&stripped)).done(stage.cluster, ADMINISTRATOR).await?;
    stage.clear().await
}

#[tokio::test]
async fn the_controller_provisions_only_in_accounts_namespaces() -> Result<()> {
    let stage = Stage::set("provisions").await?;
    let quota = json!({"hard": {"pods": "5"}});
    let limits = json!({"limits": [{"type": "Container", "default": {"cpu": "1"}}]});
    let isolation = json!({"podSelector": {}, "policyTypes": ["Ingress"]});
    let child = |namespace: &str, version: &str, kind: &str, spec: &Value| {
        let metadata = json!({"namespace": namespace, "name": "keyplane"});
        Attempt::create(json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}))
    };
    for (namespace, outcome) in [(&stage.web, Accepted), (&stage.plain, Refused(WRITES_ONLY))] {
        let rows = vec![
            (child(namespace, "v1", "ResourceQuota", &quota), outcome),
            (child(namespace, "v1", "LimitRange", &limits), outcome),
            (child(namespace, "networking.k8s.io/v1", "NetworkPolicy", &isolation), outcome),
        ];
        stage.each(CONTROLLER, rows).await?;
    }
    stage.clear().await
}

#[tokio::test]
async fn the_controller_takes_back_its_bindings_and_leaves_others() -> Result<()> {
    let stage = Stage::set("takes-back").await?;
    let bindings =
        |namespace: &str| format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings");
    let somebody = person("User", "somebody");
    // Stripped of its label, as a key of role admin could do: it must still be possible to take it away.
    let stripped = role_binding(&stage.web, "stripped", "view", &somebody);
    let ours = role_binding(&stage.plain, "keyplane-key-1", "view", &somebody);
    let delivery = role_binding(&stage.plain, "keyplane-delivery", "view", &somebody);
    let foreign = role_binding(&stage.plain, "foreign", "view", &somebody);
    for object in [stripped, ours, delivery, foreign] {
        Attempt::create(object).done(stage.cluster, ADMINISTRATOR).await?;
    }
    let stripped = format!("{}/stripped", bindings(&stage.web));
    let ours = format!("{}/keyplane-key-1", bindings(&stage.plain));
    let delivery = format!("{}/keyplane-delivery", bindings(&stage.plain));
    let foreign = format!("{}/foreign", bindings(&stage.plain));
    let rows = vec![
        (Attempt::delete(stripped), Accepted),
        // A running Keyplane may have been faster.
        (Attempt::delete(ours), AcceptedOrGone),
        (Attempt::delete(delivery), AcceptedOrGone),
        (Attempt::delete(foreign), Refused(WRITES_ONLY)),
    ];
    stage.each(CONTROLLER, rows).await?;
    stage.clear().await
}

#[tokio::test]
async fn the_controller_binds_only_keys_and_owners_each_in_their_place() -> Result<()> {
    let stage = Stage::set("binds").await?;
    let (home, web, plain) = (stage.home.as_str(), stage.web.as_str(), stage.plain.as_str());
    let key = || service_account("keyplane-identities", "key-1");
    let bind = |place: &str, role, subject| Attempt::create(role_binding(place, "attempt", role, &subject));
    let mut rows = vec![
        (bind(home, "keyplane:account-owner", person("User", "alice")), Accepted),
        (bind(home, "keyplane:account-owner", service_account("ci", "deployer")), Accepted),
        (bind(web, "keyplane:account-owner", person("User", "alice")), Refused(WHERE)),
        (bind(plain, "keyplane:account-owner", person("User", "alice")), Refused("Keyplane's controller")),
        (bind("kube-system", "keyplane:admin", key()), Refused("Keyplane's controller")),
        (bind("keyplane-identities", "keyplane:admin", key()), Refused("Keyplane's controller")),
        // RBAC lets it give what it has itself, `bind` or not.
        (bind(home, "keyplane:api", person("User", "alice")), Refused(FIVE_ROLES)),
        (bind(web, "keyplane:controller", key()), Refused(FIVE_ROLES)),
    ];
    for role in ["keyplane:view", "keyplane:edit", "keyplane:admin"] {
        rows.extend([
            (bind(web, role, key()), Accepted),
            (bind(home, role, key()), Refused(WHERE)),
            (bind(plain, role, key()), Refused("Keyplane's controller")),
            (bind(web, role, person("User", "alice")), Refused(ONLY_KEYS)),
            (
                bind(web, role, person("Group", "system:serviceaccounts:keyplane-identities")),
                Refused(ONLY_KEYS),
            ),
            (bind(web, role, service_account(web, "key-1")), Refused(ONLY_KEYS)),
            (bind(web, role, service_account("keyplane-identities", "default")), Refused(ONLY_KEYS)),
        ]);
    }
    stage.each(CONTROLLER, rows).await?;

    let existing = role_binding(web, "existing", "keyplane:view", &key());
    Attempt::create(existing).done(stage.cluster, CONTROLLER).await?;
    let existing = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{web}/rolebindings/existing");
    let rows = vec![
        (Attempt::merge(&existing, json!({"subjects": [person("User", "eve")]})), Refused(ONLY_KEYS)),
        (Attempt::merge(&existing, json!({"subjects": null})), Accepted),
    ];
    stage.each(CONTROLLER, rows).await?;
    stage.clear().await
}

#[tokio::test]
async fn the_controller_writes_finalizers_and_status_but_no_spec() -> Result<()> {
    let stage = Stage::set("leaves-specs").await?;
    let key = json!({
        "apiVersion": "keyplane.dev/v1alpha1",
        "kind": "ApiKey",
        "metadata": {"namespace": stage.plain, "name": "key"},
        "spec": {"scope": {"inference": true}, "digest": format!("sha256:{:064x}", 2)},
    });
    Attempt::create(key).done(stage.cluster, ADMINISTRATOR).await?;
    let key = format!("/apis/keyplane.dev/v1alpha1/namespaces/{}/apikeys/key", stage.plain);
    let finalizer = json!({"metadata": {"finalizers": ["keyplane.dev/cleanup"]}});
    let rows = vec![
        (Attempt::merge(&key, finalizer), Accepted),
        (Attempt::merge(format!("{key}/status"), json!({"status": {"state": "Pending"}})), Accepted),
        (Attempt::merge(&key, json!({"spec": {"displayName": "mine now"}})), Refused(SPEC)),
        (Attempt::merge(&key, json!({"spec": {"scope": {"inference": null, "all": true}}})), Refused(SPEC)),
    ];
    stage.each(CONTROLLER, rows).await?;
    let by_people = vec![(Attempt::merge(&key, json!({"spec": {"displayName": "CI"}})), Accepted)];
    stage.each(ADMINISTRATOR, by_people).await?;
    stage.clear().await
}
