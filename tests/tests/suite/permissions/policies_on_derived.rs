//! Who may change what Keyplane made in an account's namespaces: nobody but its controller, Kubernetes where it cleans
//! up, and administrators. Others may delete it, and Keyplane makes it anew.

use anyhow::{Context as _, Result};
use keyplane_tests::shared::{SharedKeyplane, shared_keyplane};
use keyplane_tests::tenant::Tenant;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::attempt::Outcome::{self, Accepted, Forbidden, Refused};
use super::attempt::{ADMINISTRATOR, Attempt, CONTROLLER, Stage, person, role_binding};

const BINDINGS: &str = "only Keyplane's controller writes RoleBindings called keyplane-key-*, keyplane-owners or keyplane-delivery";
const BOUNDS: &str = "only Keyplane's controller writes the ResourceQuota and LimitRange keyplane";
const BACKGROUND: &str = "is deleted in the background only";

const GARBAGE_COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";
const NAMESPACE_CONTROLLER: &str = "system:serviceaccount:kube-system:namespace-controller";

/// A namespace that Keyplane provisioned, and a key that reaches it.
struct Reached {
    shared: &'static SharedKeyplane,
    web: String,
    user: String,
    bindings: String,
    binding: String,
}

impl Reached {
    async fn by(role: &str) -> Result<Self> {
        let shared = shared_keyplane().await?;
        let tenant = Tenant::create(shared.cluster, &shared.keyplane, "derived").await?;
        let web = tenant.namespace("web").await?;
        tenant.key("key", &["--all-namespaces", "--role", role]).await?;
        let uid = tenant.stored_key("key").await?.uid().context("a UID")?;
        let bindings = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{web}/rolebindings");
        Ok(Self {
            shared,
            user: format!("system:serviceaccount:keyplane-identities:key-{uid}"),
            binding: format!("{bindings}/keyplane-key-{uid}"),
            bindings,
            web,
        })
    }

    async fn each(&self, user: &str, rows: Vec<(Attempt, Outcome)>) -> Result<()> {
        for (attempt, outcome) in rows {
            attempt.comes_to(self.shared.cluster, user, outcome).await?;
        }
        Ok(())
    }
}

/// What holds an object, hides it, or breaks those that read it, without a word about what it is for.
fn of_its_metadata(path: &str) -> Vec<Attempt> {
    // Kubernetes can read this time, and few clients in other languages.
    let fields = json!([{
        "manager": "m", "operation": "Update", "apiVersion": "v1", "time": "9999-12-31T23:59:59Z",
        "fieldsType": "FieldsV1", "fieldsV1": {},
    }]);
    let changes = [
        json!({"finalizers": ["attacker.example/hold"]}),
        json!({"labels": {"keyplane.dev/owner-uid": "the-victims"}}),
        json!({"annotations": {"a": "b"}}),
        json!({"managedFields": fields}),
    ];
    changes.into_iter().map(|metadata| Attempt::merge(path, json!({"metadata": metadata}))).collect()
}

fn each_refused(attempts: Vec<Attempt>, sentence: &'static str) -> Vec<(Attempt, Outcome)> {
    attempts.into_iter().map(|attempt| (attempt, Refused(sentence))).collect()
}

fn of_name(namespace: &str, name: &str, version: &str, kind: &str, spec: &Value) -> Attempt {
    let metadata = json!({"namespace": namespace, "name": name});
    Attempt::create(json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}))
}

fn quota(namespace: &str, name: &str) -> Attempt {
    of_name(namespace, name, "v1", "ResourceQuota", &json!({"hard": {"pods": "5"}}))
}

fn limits(namespace: &str, name: &str) -> Attempt {
    let spec = json!({"limits": [{"type": "Container", "default": {"cpu": "1"}}]});
    of_name(namespace, name, "v1", "LimitRange", &spec)
}

fn isolation(namespace: &str, name: &str) -> Attempt {
    let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"]});
    of_name(namespace, name, "networking.k8s.io/v1", "NetworkPolicy", &spec)
}

#[tokio::test]
async fn an_admin_key_can_hold_forge_or_spoil_no_binding_of_keyplanes() -> Result<()> {
    let reached = Reached::by("admin").await?;
    let eve = || person("User", "eve");
    let forged = |name: &str| {
        let mut binding = role_binding(&reached.web, name, "keyplane:view", &eve());
        binding["metadata"]["finalizers"] = json!(["attacker.example/hold"]);
        binding
    };
    let mut generated = forged("");
    generated["metadata"]["generateName"] = json!("keyplane-key-");

    let mut rows = each_refused(of_its_metadata(&reached.binding), BINDINGS);
    rows.extend([
        (Attempt::merge(&reached.binding, json!({"subjects": [eve()]})), Refused(BINDINGS)),
        (Attempt::create(forged("keyplane-key-9d0f7a52-the-victims")), Refused(BINDINGS)),
        (Attempt::create(forged("keyplane-owners")), Refused(BINDINGS)),
        (Attempt::create(forged("keyplane-delivery")), Refused(BINDINGS)),
        (Attempt::create(generated), Refused(BINDINGS)),
        // A dependent with a finalizer would hold these back without end.
        (Attempt::delete_by(&reached.binding, "Foreground"), Refused(BACKGROUND)),
        (Attempt::delete_by(&reached.binding, "Orphan"), Refused(BACKGROUND)),
        (Attempt::delete_by(&reached.bindings, "Foreground"), Refused(BACKGROUND)),
        (Attempt::delete(&reached.binding), Accepted),
        (Attempt::delete_by(&reached.binding, "Background"), Accepted),
        // Names that only look alike are anybody's.
        (Attempt::create(forged("keyplane-owners-of-ours")), Accepted),
        (Attempt::create(forged("keyplane-delivery-of-ours")), Accepted),
        (Attempt::create(forged("our-keyplane-key-1")), Accepted),
    ]);
    reached.each(&reached.user, rows).await
}

#[tokio::test]
async fn the_controller_kubernetes_and_administrators_may_change_a_binding_of_keyplanes() -> Result<()> {
    let reached = Reached::by("view").await?;
    let finalizer = || {
        let change = json!({"metadata": {"finalizers": ["administrators.example/hold"]}});
        (Attempt::merge(&reached.binding, change), Accepted)
    };
    let foreground = || (Attempt::delete_by(&reached.binding, "Foreground"), Accepted);
    reached.each(CONTROLLER, vec![finalizer(), foreground()]).await?;
    reached.each(ADMINISTRATOR, vec![finalizer(), foreground()]).await?;
    reached.each(GARBAGE_COLLECTOR, vec![finalizer(), foreground()]).await?;
    reached.each(NAMESPACE_CONTROLLER, vec![foreground()]).await
}

#[tokio::test]
async fn an_edit_key_can_open_hold_or_relabel_no_bounds_of_keyplanes() -> Result<()> {
    let reached = Reached::by("edit").await?;
    let web = reached.web.as_str();
    let policies = format!("/apis/networking.k8s.io/v1/namespaces/{web}/networkpolicies");
    let ours = format!("{policies}/keyplane-isolation");
    let open = json!({"spec": {"ingress": [{}]}});

    let mut rows = each_refused(of_its_metadata(&ours), BOUNDS);
    rows.extend([
        (Attempt::merge(&ours, open.clone()), Refused(BOUNDS)),
        (Attempt::delete_by(&ours, "Foreground"), Refused(BACKGROUND)),
        (Attempt::delete_by(&policies, "Orphan"), Refused(BACKGROUND)),
        (Attempt::delete(&ours), Accepted),
        (isolation(web, "of-our-own"), Accepted),
        // Of a NetworkPolicy this name is anybody's.
        (isolation(web, "keyplane"), Accepted),
        (quota(web, "keyplane"), Forbidden),
        (limits(web, "keyplane"), Forbidden),
    ]);
    reached.each(&reached.user, rows).await?;
    for user in [CONTROLLER, ADMINISTRATOR, GARBAGE_COLLECTOR] {
        let mut rows: Vec<_> =
            of_its_metadata(&ours).into_iter().map(|attempt| (attempt, Accepted)).collect();
        rows.push((Attempt::merge(&ours, open.clone()), Accepted));
        reached.each(user, rows).await?;
    }
    Ok(())
}

/// Rights of their own, such as a role that somebody extended, do not help either.
#[tokio::test]
async fn whoever_has_the_rights_writes_names_of_keyplanes_only_where_no_account_is() -> Result<()> {
    let stage = Stage::set("names").await?;
    let somebody = "somebody-of-the-names-test";
    let (web, plain) = (stage.web.as_str(), stage.plain.as_str());
    for namespace in [web, plain] {
        let rules = json!([
            {"apiGroups": [""], "resources": ["resourcequotas", "limitranges"], "verbs": ["create", "patch"]},
            {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["create"]},
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": ["create"]},
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["bind"]},
        ]);
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"namespace": namespace, "name": "extended"},
            "rules": rules,
        });
        let mut binding = role_binding(namespace, "extended", "extended", &person("User", somebody));
        binding["roleRef"]["kind"] = json!("Role");
        for object in [role, binding] {
            Attempt::create(object).done(stage.cluster, ADMINISTRATOR).await?;
        }
    }
    quota(web, "keyplane").done(stage.cluster, ADMINISTRATOR).await?;
    let stored = format!("/api/v1/namespaces/{web}/resourcequotas/keyplane");
    let bind = |namespace: &str, name: &str| {
        Attempt::create(role_binding(namespace, name, "view", &person("User", "alice")))
    };
    let mut rows = each_refused(of_its_metadata(&stored), BOUNDS);
    rows.extend([
        (Attempt::merge(&stored, json!({"spec": {"hard": {"pods": "500"}}})), Refused(BOUNDS)),
        (limits(web, "keyplane"), Refused(BOUNDS)),
        (isolation(web, "keyplane-isolation"), Refused(BOUNDS)),
        (quota(web, "of-our-own"), Accepted),
        (limits(web, "of-our-own"), Accepted),
        (quota(plain, "keyplane"), Accepted),
        (limits(plain, "keyplane"), Accepted),
        (isolation(plain, "keyplane-isolation"), Accepted),
        // A RoleBinding's name counts everywhere: it is by the name that the controller finds rights to take back.
        (bind(web, "keyplane-key-1"), Refused(BINDINGS)),
        (bind(plain, "keyplane-key-1"), Refused(BINDINGS)),
        (bind(plain, "keyplane-owners"), Refused(BINDINGS)),
        (bind(plain, "keyplane-delivery"), Refused(BINDINGS)),
        (bind(plain, "view"), Accepted),
    ]);
    stage.each(somebody, rows).await?;
    stage.clear().await
}

/// The ServiceAccounts and anchors of keys are in a namespace where no role of a key or an owner is bound.
#[tokio::test]
async fn no_key_reaches_the_identities_of_keys() -> Result<()> {
    let reached = Reached::by("admin").await?;
    let place = "/api/v1/namespaces/keyplane-identities";
    let name = reached.user.rsplit(':').next().context("a name")?;
    let hold = || json!({"metadata": {"finalizers": ["attacker.example/hold"]}});
    let rows = vec![
        (Attempt::merge(place, hold()), Forbidden),
        (Attempt::merge(format!("{place}/serviceaccounts/{name}"), hold()), Forbidden),
        (Attempt::merge(format!("{place}/secrets/{name}"), hold()), Forbidden),
        (Attempt::delete(format!("{place}/secrets/{name}")), Forbidden),
        (Attempt::merge(format!("/api/v1/namespaces/{}", reached.web), hold()), Forbidden),
    ];
    reached.each(&reached.user, rows).await
}
