//! Whatever is deleted or killed, the cluster comes back to the same state, and then nobody writes (I4, I6).
//!
//! These tests count and kill, so each has a control plane and a Keyplane of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use keyplane_tests::audit_log::AuditEvent;
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::install::install;
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions};
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use keyplane_tests::workspace;
use serde_json::Value;

/// The kinds that Keyplane makes.
const DERIVED: [&str; 7] = [
    "namespaces",
    "serviceaccounts",
    "secrets",
    "rolebindings",
    "resourcequotas",
    "limitranges",
    "networkpolicies",
];

struct Stage {
    cluster: ControlPlane,
    keyplane: Keyplane,
}

async fn stage() -> Result<Stage> {
    let cluster = ControlPlane::start().await?;
    let installation = install(cluster.kubectl(), cluster.access(), cluster.dir()).await?;
    let options = KeyplaneOptions::all(&installation).with_lease_seconds(3);
    let keyplane = Keyplane::start(cluster.supervise(), cluster.dir(), &options).await?;
    Ok(Stage { cluster, keyplane })
}

/// Every derived object by kind, place and name, without what the server gives anew to each object.
async fn derived(cluster: &ControlPlane) -> Result<BTreeMap<String, Value>> {
    let mut found = BTreeMap::new();
    for kind in DERIVED {
        let selector = "--selector=app.kubernetes.io/managed-by=keyplane";
        let text =
            cluster.kubectl().run(["get", kind, "--all-namespaces", selector, "--output=json"]).await?;
        let list: Value = serde_json::from_str(&text)?;
        for object in list.pointer("/items").and_then(Value::as_array).into_iter().flatten() {
            let mut object = object.clone();
            let at = |pointer: &str| {
                object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let place = format!("{kind} {}/{}", at("/metadata/namespace"), at("/metadata/name"));
            let terminating = object.pointer("/metadata/deletionTimestamp").is_some();
            if let Some(fields) = object.as_object_mut() {
                fields.remove("status");
            }
            if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
                for name in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
                    metadata.remove(name);
                }
            }
            found.insert(place, if terminating { Value::Null } else { object });
        }
    }
    Ok(found)
}

async fn until_same(cluster: &ControlPlane, wanted: &BTreeMap<String, Value>, after: &str) -> Result<()> {
    until(&format!("the same state after {after}"), PATIENCE, || async {
        let found = derived(cluster).await?;
        let differing: Vec<&String> = wanted
            .keys()
            .chain(found.keys())
            .filter(|place| wanted.get(*place) != found.get(*place))
            .collect();
        Ok(if differing.is_empty() { Seen::Done(()) } else { Seen::NotYet(format!("{differing:?} differ")) })
    })
    .await
}

/// Two accounts' worth of everything.
async fn populate(stage: &Stage) -> Result<Tenant> {
    let tenant = Tenant::named(&stage.cluster, &stage.keyplane, "acme-test").await?;
    tenant.namespace("web").await?;
    tenant.namespace("jobs").await?;
    tenant.key("one", &["--kubernetes-namespace", "web"]).await?;
    tenant.key("all", &["--all-namespaces", "--role", "view"]).await?;
    Ok(tenant)
}

#[tokio::test]
async fn every_derived_object_that_is_deleted_or_spoilt_comes_back_as_it_was() -> Result<()> {
    let stage = stage().await?;
    populate(&stage).await?;
    let kubectl = stage.cluster.kubectl();
    let wanted = derived(&stage.cluster).await?;
    ensure!(wanted.values().all(|object| !object.is_null()), "{wanted:?}");

    let mut deleted = BTreeMap::new();
    for place in wanted.keys() {
        let (kind, rest) = place.split_once(' ').context("kind and place")?;
        let (namespace, name) = rest.split_once('/').context("namespace and name")?;
        // A home namespace takes the declarations in it along: that is deleting the account's resources, not a
        // derived object.
        if kind == "namespaces" && name == "acme-test" {
            continue;
        }
        let mut command = vec!["delete", kind, name, "--wait=false"];
        if !namespace.is_empty() {
            command.extend(["--namespace", namespace]);
        }
        kubectl.run(command).await?;
        until_same(&stage.cluster, &wanted, &format!("{place} was deleted")).await?;
        *deleted.entry(kind.to_owned()).or_insert(0) += 1;
    }
    println!("convergence: deleted one by one and came back: {deleted:?}");
    ensure!(deleted.len() == DERIVED.len(), "not every kind was tried: {deleted:?}");

    // Spoilt, not deleted: other labels, other subjects, another quota, another policy.
    let web = "--namespace=acme-test-web";
    for (what, patch) in [
        ("resourcequota/keyplane", r#"{"spec":{"hard":{"pods":"1","requests.cpu":"1000"}}}"#),
        ("resourcequota/keyplane", r#"{"spec":{"hard":{"count/pods":"1","requests.cpu":null}}}"#),
        ("networkpolicy/keyplane-isolation", r#"{"spec":{"podSelector":{"matchLabels":{"app":"none"}}}}"#),
        ("limitrange/keyplane", r#"{"spec":{"limits":[]}}"#),
        ("networkpolicy/keyplane-isolation", r#"{"spec":{"ingress":[{}]}}"#),
        ("networkpolicy/keyplane-isolation", r#"{"metadata":{"labels":null}}"#),
        (
            "namespace/acme-test-web",
            r#"{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}"#,
        ),
    ] {
        kubectl.run(["patch", what, web, "--type=merge", "-p", patch]).await?;
        until_same(&stage.cluster, &wanted, &format!("{what} was given {patch}")).await?;
    }
    let binding = wanted
        .keys()
        .find_map(|place| place.strip_prefix("rolebindings acme-test-web/"))
        .context("a binding")?;
    for patch in [
        r#"{"subjects":[{"kind":"User","name":"mallory","apiGroup":"rbac.authorization.k8s.io"}]}"#,
        r#"{"subjects":null,"metadata":{"labels":null}}"#,
    ] {
        kubectl.run(["patch", "rolebinding", binding, web, "--type=merge", "-p", patch]).await?;
        until_same(&stage.cluster, &wanted, &format!("the binding was given {patch}")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn keyplane_killed_at_any_time_converges_to_the_same_state() -> Result<()> {
    let stage = stage().await?;
    let tenant = populate(&stage).await?;
    let wanted = derived(&stage.cluster).await?;
    let home = "--namespace=acme-test";

    // Killed in the middle of giving, at a later moment each time: while many keys are being set up.
    let (mut manifests, mut names) = (String::new(), Vec::new());
    for number in 0..12 {
        let name = format!("many-{number}");
        let (_, manifest) = tenant.generate(&name, &["--all-namespaces"]).await?;
        manifests.push_str(&manifest);
        manifests.push_str("\n---\n");
        names.push(name);
    }
    let identities = |state: &BTreeMap<String, Value>| {
        state.keys().filter(|place| place.starts_with("serviceaccounts ")).count()
    };
    for some in [1, 5, 9] {
        tenant.kubectl.apply(&manifests).await?;
        until("some identities", PATIENCE, || async {
            let found = identities(&derived(&stage.cluster).await?);
            Ok(if found >= 2 + some { Seen::Done(()) } else { Seen::NotYet(format!("{found}")) })
        })
        .await?;
        stage.keyplane.kill_9()?;
        stage.keyplane.restart().await?;
        for name in &names {
            tenant.wait_ready(&format!("apikey/{name}")).await?;
        }
        let everything = derived(&stage.cluster).await?;
        ensure!(identities(&everything) == 14, "{}", identities(&everything));

        // Killed in the middle of taking.
        let mut delete = vec!["delete", "apikey", home, "--wait=false"];
        delete.extend(names.iter().map(String::as_str));
        tenant.kubectl.run(delete).await?;
        until("some identities to go", PATIENCE, || async {
            let found = identities(&derived(&stage.cluster).await?);
            Ok(if found <= 14 - some { Seen::Done(()) } else { Seen::NotYet(format!("{found}")) })
        })
        .await?;
        stage.keyplane.kill_9()?;
        stage.keyplane.restart().await?;
        until_same(&stage.cluster, &wanted, "a kill in the middle of taking").await?;
    }

    // What was revoked, deleted or forced out while nobody watched is set right by the next start.
    stage.keyplane.kill_9()?;
    tenant.patch_key("one", r#"{"revoked":true}"#).await?;
    tenant
        .kubectl
        .run(["patch", "apikey", "all", home, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#])
        .await?;
    tenant.kubectl.run(["delete", "apikey", "all", home]).await?;
    stage.keyplane.restart().await?;
    until("no identity and no binding of a key", PATIENCE, || async {
        let found = derived(&stage.cluster).await?;
        let left: Vec<&String> = found.keys().filter(|place| place.contains("key-")).collect();
        Ok(if left.is_empty() { Seen::Done(()) } else { Seen::NotYet(format!("{left:?}")) })
    })
    .await
}

#[tokio::test]
async fn a_quiet_minute_sees_no_write_but_the_lease() -> Result<()> {
    let stage = stage().await?;
    let kubectl = stage.cluster.kubectl();
    let examples = workspace::root().join("examples").to_string_lossy().into_owned();
    kubectl.run(["apply", "-f", &format!("{examples}/accounts")]).await?;
    kubectl.run(["wait", "--for=condition=Ready", "account/acme", "--timeout=60s"]).await?;
    kubectl.run(["apply", "-f", &format!("{examples}/acme")]).await?;
    kubectl
        .run(["wait", "--for=condition=Ready", "--timeout=60s", "-f", &format!("{examples}/acme")])
        .await?;

    let audit = stage.cluster.audit_log()?;
    let ours = |event: &AuditEvent| event.user.username.starts_with("system:serviceaccount:keyplane-system:");
    let is_lease =
        |event: &AuditEvent| event.object_ref.as_ref().is_some_and(|object| object.resource == "leases");
    // Quiet begins when a second has passed without a write of ours; then a whole minute is counted. Only here a
    // test waits by the clock: the minute is what is measured.
    until("Keyplane to come to rest", PATIENCE, || async {
        let mark = audit.mark()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let busy = audit
            .since(mark)?
            .iter()
            .filter(|event| ours(event) && event.is_write() && !is_lease(event))
            .count();
        Ok(if busy == 0 { Seen::Done(()) } else { Seen::NotYet(format!("{busy} writes in the last second")) })
    })
    .await?;
    let mark = audit.mark()?;
    let start = Instant::now();
    tokio::time::sleep(Duration::from_mins(1)).await;
    let events = audit.since(mark)?;
    let writes: Vec<&AuditEvent> = events.iter().filter(|event| ours(event) && event.is_write()).collect();
    let (lease, other): (Vec<&AuditEvent>, Vec<&AuditEvent>) =
        writes.into_iter().partition(|event| is_lease(event));
    println!(
        "quiet: in {} s {} writes of the lease and {} others",
        start.elapsed().as_secs(),
        lease.len(),
        other.len()
    );
    ensure!(!lease.is_empty(), "the lease was not renewed: nothing was measured");
    ensure!(other.is_empty(), "{other:?}");
    Ok(())
}
