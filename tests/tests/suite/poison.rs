//! One bad object harms nobody else, whatever is in it.

use anyhow::{Context as _, Result, ensure};
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::install::install;
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions};
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};

/// The API server takes this, and hands it out as the year 10000, which clients cannot parse.
const UNREADABLE: &str = r#"{"metadata":{"managedFields":[{"manager":"m","operation":"Update","apiVersion":"VERSION","time":"9999-12-31T23:59:59-23:59","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{"f:poison":{}}}}}]}}"#;

#[tokio::test]
async fn objects_whose_metadata_cannot_be_read_stop_nobodys_revocation() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let installation = install(cluster.kubectl(), cluster.access(), cluster.dir()).await?;
    let options = KeyplaneOptions::all(&installation).with_lease_seconds(3);
    let keyplane = Keyplane::start(cluster.supervise(), cluster.dir(), &options).await?;
    let hostile = Tenant::create(&cluster, &keyplane, "poison").await?;
    let victim = Tenant::create(&cluster, &keyplane, "victim").await?;
    let place = hostile.namespace("web").await?;
    hostile.key("admin", &["--kubernetes-namespace", "web", "--role", "admin"]).await?;
    victim.namespace("web").await?;
    let key = victim.key("ci", &["--kubernetes-namespace", "web"]).await?;

    let within = format!("--namespace={place}");
    let kubectl = cluster.kubectl();
    kubectl.run(["create", "rolebinding", "bait", "--clusterrole=view", "--user=nobody", &within]).await?;
    let own = kubectl.run(["get", "rolebindings", &within, "--output=name"]).await?;
    let own = own.lines().find(|name| name.contains("keyplane-key-")).context("the key's own binding")?;
    for (what, version) in [
        ("rolebinding/bait", "rbac.authorization.k8s.io/v1"),
        (own, "rbac.authorization.k8s.io/v1"),
        ("networkpolicy/keyplane-isolation", "networking.k8s.io/v1"),
    ] {
        let poison = UNREADABLE.replace("VERSION", version);
        // The field must be there first: a change of its own would be stamped with the server's time.
        kubectl.run(["annotate", what, &within, "poison=1"]).await?;
        kubectl.run(["patch", what, &within, "--type=merge", "-p", &poison]).await?;
        let stored = kubectl.run(["get", what, &within, "--output=json", "--show-managed-fields"]).await?;
        ensure!(
            stored.contains("10000-01-01"),
            "the API server is wiser than it was; find another poison: {stored}"
        );
    }

    // The next start lists all of it.
    keyplane.kill_9()?;
    keyplane.restart().await?;
    victim.patch_key("ci", r#"{"revoked":true}"#).await?;
    victim.key_with_reason("ci", "Revoked").await?;
    ensure!(victim.exchange(&key).await?.status == 401);

    // And a poisoned right is still Keyplane's to take away.
    hostile.patch_key("admin", r#"{"revoked":true}"#).await?;
    until("the poisoned binding to be gone", PATIENCE, || async {
        let left = kubectl.run(["get", "rolebindings", &within, "--output=name"]).await?;
        Ok(if left.contains("keyplane-key-") { Seen::NotYet(left) } else { Seen::Done(()) })
    })
    .await?;
    // The API server itself refuses patches of such an object; what is deleted comes back whole.
    kubectl.run(["delete", "networkpolicy/keyplane-isolation", &within]).await?;
    until("the policy to be made anew", PATIENCE, || async {
        let found = kubectl.run(["get", "networkpolicies", &within, "--output=name"]).await?;
        Ok(if found.contains("keyplane-isolation") { Seen::Done(()) } else { Seen::NotYet(found) })
    })
    .await
}

/// A finalizer keeps a deleted RoleBinding in force. Keyplane takes it off, and says Ready only when the right is gone.
#[tokio::test]
async fn a_finalizer_on_a_binding_keeps_no_right_alive() -> Result<()> {
    let shared = keyplane_tests::shared::shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "held").await?;
    let web = own.namespace("web").await?;
    own.namespace("db").await?;
    let key = own.key("narrow", &["--all-namespaces", "--role", "admin"]).await?;
    let kubectl = own.kubectl_of(&key).await?;
    kubectl.run(["get", "secrets", "--namespace", &web]).await?;
    let within = format!("--namespace={web}");
    let held = own.kubectl.run(["get", "rolebindings", &within, "--output=name"]).await?;
    let finalizer = r#"{"metadata":{"finalizers":["mallory.example/keep"]}}"#;
    own.kubectl.run(["patch", held.trim(), &within, "--type=merge", "-p", finalizer]).await?;

    own.patch_key(
        "narrow",
        r#"{"scope":{"kubernetesExec":{"allNamespaces":null,"namespaces":["db"],"role":"view"}}}"#,
    )
    .await?;
    own.key_with_reason("narrow", "Active").await?;
    let refusal = kubectl.capture(["get", "secrets", "--namespace", &web], "").await?.failure()?;
    ensure!(refusal.contains("forbidden"), "{refusal}");
    Ok(())
}
