//! What keys and owners can and cannot do with the roles that Keyplane binds, policies included.

use anyhow::Result;
use serde_json::{Value, json};

use super::attempt::Outcome::{Accepted, Forbidden, Refused};
use super::attempt::{ADMINISTRATOR, Attempt, CONTROLLER, Stage, person, role_binding, service_account};

const TOKEN_SECRET: &str = "holds a token that never expires";
const KEYS_RIGHTS: &str = "only Keyplane's controller gives rights to a key";
const EMPTY: &str = "holds only empty Secrets of type keyplane.dev/anchor";

const KEY: &str = "key-tenants-test";
const KEY_USER: &str = "system:serviceaccount:keyplane-identities:key-tenants-test";

fn secret(namespace: &str, kind: &str, data: &Value) -> Attempt {
    Attempt::create(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "namespace": namespace,
            "generateName": "attempt-",
            "annotations": {"kubernetes.io/service-account.name": "default"},
        },
        "type": kind,
        "stringData": data,
    }))
}

fn token(namespace: &str) -> Attempt {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default/token");
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [], "expirationSeconds": 3600},
    });
    Attempt::post(path, request)
}

fn deployment(namespace: &str) -> Attempt {
    Attempt::create(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web"}]},
            },
        },
    }))
}

fn impersonation(namespace: &str) -> Attempt {
    Attempt::create(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"namespace": namespace, "name": "impersonator"},
        "rules": [{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]}],
    }))
}

fn endpoints(namespace: &str) -> Attempt {
    Attempt::create(json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"namespace": namespace, "name": "elsewhere"},
        "addressType": "IPv4",
        "endpoints": [],
        "ports": [],
    }))
}

/// Binds the key, as only the controller can.
async fn bind(stage: &Stage, role: &str) -> Result<()> {
    let subject = service_account("keyplane-identities", KEY);
    let name = format!("test-{}", role.replace(':', "-"));
    Attempt::create(role_binding(&stage.web, &name, role, &subject)).done(stage.cluster, CONTROLLER).await?;
    Ok(())
}

#[tokio::test]
async fn an_edit_key_deploys_and_can_make_no_token_that_outlives_it() -> Result<()> {
    let stage = Stage::set("edit-key").await?;
    bind(&stage, "keyplane:edit").await?;
    let web = stage.web.as_str();
    stage
        .each(
            KEY_USER,
            vec![
                (deployment(web), Accepted),
                (secret(web, "Opaque", &json!({"a": "b"})), Accepted),
                (secret(web, "kubernetes.io/service-account-token", &json!({})), Refused(TOKEN_SECRET)),
                (token(web), Forbidden),
                (impersonation(web), Forbidden),
                (endpoints(web), Forbidden),
                (Attempt::create(role_binding(web, "b", "keyplane:view", &person("User", "eve"))), Forbidden),
                (deployment(&stage.home), Forbidden),
                (deployment(&stage.plain), Forbidden),
                (token("keyplane-identities"), Forbidden),
            ],
        )
        .await?;
    stage.clear().await
}

#[tokio::test]
async fn an_admin_key_gives_others_what_it_has_and_keys_nothing() -> Result<()> {
    let stage = Stage::set("admin-key").await?;
    bind(&stage, "keyplane:admin").await?;
    let web = stage.web.as_str();
    let give = |role, subject| Attempt::create(role_binding(web, "given", role, &subject));
    let own = || service_account("keyplane-identities", KEY);
    let key_binding =
        format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{web}/rolebindings/test-keyplane-admin");
    stage
        .each(
            KEY_USER,
            vec![
                (give("keyplane:edit", person("User", "alice")), Accepted),
                (give("keyplane:admin", person("Group", "team")), Accepted),
                (give("keyplane:admin", service_account(web, "default")), Accepted),
                // RBAC: it would give what the key has not.
                (give("edit", person("User", "alice")), Forbidden),
                (give("cluster-admin", person("User", "alice")), Forbidden),
                (give("keyplane:account-owner", person("User", "alice")), Forbidden),
                (impersonation(web), Forbidden),
                (token(web), Forbidden),
                (secret(web, "kubernetes.io/service-account-token", &json!({})), Refused(TOKEN_SECRET)),
                // A role that stays when the key's own is narrowed, by each name of a key.
                (give("keyplane:view", own()), Refused(KEYS_RIGHTS)),
                (give("keyplane:view", person("User", KEY_USER)), Refused(KEYS_RIGHTS)),
                (
                    give("keyplane:view", person("Group", "system:serviceaccounts:keyplane-identities")),
                    Refused(KEYS_RIGHTS),
                ),
                (give("keyplane:view", person("Group", "system:serviceaccounts")), Refused(KEYS_RIGHTS)),
                (give("keyplane:view", person("Group", "system:authenticated")), Refused(KEYS_RIGHTS)),
                (
                    Attempt::merge(
                        key_binding.clone(),
                        json!({"subjects": [own(), service_account("keyplane-identities", "key-another")]}),
                    ),
                    Refused(KEYS_RIGHTS),
                ),
                // What changes nobody's rights stays possible.
                (Attempt::merge(key_binding, json!({"metadata": {"labels": {"a": "b"}}})), Accepted),
            ],
        )
        .await?;
    stage.clear().await
}

#[tokio::test]
async fn not_even_an_administrator_leaves_a_lasting_token_in_an_accounts_namespace() -> Result<()> {
    let stage = Stage::set("lasting-token").await?;
    let lasting = |namespace: &str| secret(namespace, "kubernetes.io/service-account-token", &json!({}));
    stage
        .each(
            ADMINISTRATOR,
            vec![
                (lasting(&stage.web), Refused(TOKEN_SECRET)),
                (lasting(&stage.home), Refused(TOKEN_SECRET)),
                (lasting(&stage.plain), Accepted),
                (lasting("keyplane-identities"), Refused(EMPTY)),
                (secret("keyplane-identities", "keyplane.dev/anchor", &json!({"a": "b"})), Refused(EMPTY)),
                (secret("keyplane-identities", "keyplane.dev/anchor", &json!({})), Accepted),
            ],
        )
        .await?;
    stage.clear().await
}

#[tokio::test]
async fn an_owner_declares_in_the_home_namespace_and_nothing_else() -> Result<()> {
    let stage = Stage::set("owner").await?;
    let home = stage.home.as_str();
    let owner = "owner-of-the-tenants-test";
    let subject = person("User", owner);
    Attempt::create(role_binding(home, "test-owners", "keyplane:account-owner", &subject))
        .done(stage.cluster, CONTROLLER)
        .await?;
    let key = |namespace: &str, name: &str| {
        Attempt::create(json!({
            "apiVersion": "keyplane.dev/v1alpha1",
            "kind": "ApiKey",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"scope": {"inference": true}, "digest": format!("sha256:{:064x}", 1)},
        }))
    };
    key(home, "first").done(stage.cluster, ADMINISTRATOR).await?;
    for place in [home, stage.web.as_str()] {
        let delivered = json!({"namespace": place, "name": "delivered"});
        let delivered = json!({"apiVersion": "v1", "kind": "Secret", "metadata": delivered});
        Attempt::create(delivered).done(stage.cluster, ADMINISTRATOR).await?;
    }
    let delivered = |place: &str| format!("/api/v1/namespaces/{place}/secrets/delivered");
    let first = format!("/apis/keyplane.dev/v1alpha1/namespaces/{home}/apikeys/first");
    let status = json!({"status": {"state": "Active"}});
    stage
        .each(
            owner,
            vec![
                (key(home, "second"), Accepted),
                (Attempt::merge(&first, json!({"spec": {"revoked": true}})), Accepted),
                (Attempt::delete(&first), Accepted),
                (Attempt::merge(format!("{first}/status"), status), Forbidden),
                (key(&stage.web, "elsewhere"), Forbidden),
                (key(&stage.plain, "elsewhere"), Forbidden),
                (secret(home, "Opaque", &json!({})), Forbidden),
                (Attempt::merge(delivered(home), json!({"data": {"key": "YQ=="}})), Forbidden),
                (Attempt::delete(delivered(home)), Accepted),
                (Attempt::delete(delivered(&stage.web)), Forbidden),
                (deployment(home), Forbidden),
                (
                    Attempt::create(role_binding(home, "b", "keyplane:view", &person("User", "eve"))),
                    Forbidden,
                ),
            ],
        )
        .await?;
    stage.clear().await
}
