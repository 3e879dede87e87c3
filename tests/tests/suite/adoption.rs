//! Keyplane never takes over a namespace that it did not make, and never touches one.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Namespace as CoreNamespace;
use keyplane_crds::Account;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::{Api, ResourceExt as _};

#[tokio::test]
async fn a_core_namespace_in_the_way_is_left_alone_and_the_resource_waits_until_it_is_gone() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "adopt").await?;
    let core = format!("{}-web", own.account);
    own.kubectl.run(["create", "namespace", &core]).await?;
    // Labels alone make nothing Keyplane's: anybody who may write namespaces can write them.
    own.kubectl.run(["label", "namespace", &core, "app.kubernetes.io/managed-by=keyplane"]).await?;
    let cores: Api<CoreNamespace> = Api::all(own.client());
    let before = cores.get(&core).await?;

    let manifest = format!(
        "apiVersion: keyplane.dev/v1alpha1\nkind: Namespace\nmetadata: {{name: web, namespace: {}}}\n",
        own.account
    );
    own.kubectl.apply(&manifest).await?;
    reason(&own, "namespaces.keyplane.dev/web", &own.account, "NameTaken").await?;
    let after = cores.get(&core).await?;
    ensure!(before.resource_version() == after.resource_version(), "the foreign namespace was written to");

    // Deleting the resource does not delete what was never its own.
    let home = format!("--namespace={}", own.account);
    own.kubectl.run(["delete", "namespaces.keyplane.dev", "web", &home, "--timeout=60s"]).await?;
    ensure!(cores.get(&core).await?.metadata.deletion_timestamp.is_none());

    own.kubectl.apply(&manifest).await?;
    reason(&own, "namespaces.keyplane.dev/web", &own.account, "NameTaken").await?;
    own.kubectl.run(["delete", "namespace", &core, "--timeout=60s"]).await?;
    own.wait_ready("namespaces.keyplane.dev/web").await
}

#[tokio::test]
async fn an_account_does_not_adopt_a_namespace_as_its_home() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "home").await?;
    let name = format!("{}-second", own.account);
    own.kubectl.run(["create", "namespace", &name]).await?;
    let manifest =
        format!("apiVersion: keyplane.dev/v1alpha1\nkind: Account\nmetadata: {{name: {name}}}\nspec: {{}}\n");
    own.kubectl.apply(&manifest).await?;
    reason(&own, &format!("account/{name}"), &own.account, "NameTaken").await?;

    // What stands in a namespace that is nobody's home grants nothing.
    let key = format!(
        "apiVersion: keyplane.dev/v1alpha1\nkind: ApiKey\nmetadata: {{name: stray, namespace: {name}}}\n\
         spec: {{digest: 'sha256:{}', scope: {{all: true}}}}\n",
        "0".repeat(64)
    );
    own.kubectl.apply(&key).await?;
    reason(&own, "apikey/stray", &name, "AccountNotFound").await?;

    own.kubectl.run(["delete", "account", &name, "--timeout=60s"]).await?;
    let cores: Api<CoreNamespace> = Api::all(own.client());
    ensure!(
        cores.get(&name).await?.metadata.deletion_timestamp.is_none(),
        "the foreign namespace was deleted"
    );
    Ok(())
}

#[tokio::test]
async fn deleting_an_account_takes_everything_of_it_and_nothing_else() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "end").await?;
    let other = Tenant::create(shared.cluster, &shared.keyplane, "end-other").await?;
    let web = own.namespace("web").await?;
    let foreign = other.namespace("web").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let uid = own.stored_key("ci").await?.uid().unwrap_or_default();
    own.kubectl.run(["delete", "account", &own.account, "--timeout=90s"]).await?;

    let accounts: Api<Account> = Api::all(own.client());
    let cores: Api<CoreNamespace> = Api::all(own.client());
    ensure!(accounts.get_opt(&own.account).await?.is_none());
    ensure!(cores.get_opt(&own.account).await?.is_none());
    until("the workload namespace to be gone", PATIENCE, || async {
        let gone = cores.get_opt(&web).await?.is_none();
        Ok(if gone { Seen::Done(()) } else { Seen::NotYet("there".to_owned()) })
    })
    .await?;
    let identities = own
        .kubectl
        .run(["get", "serviceaccounts,secrets", "--namespace=keyplane-identities", "--output=name"])
        .await?;
    ensure!(!identities.contains(&uid), "{identities}");
    ensure!(own.exchange(&key).await?.status == 401);
    ensure!(cores.get(&foreign).await?.metadata.deletion_timestamp.is_none());
    Ok(())
}

async fn reason(own: &Tenant, what: &str, namespace: &str, wanted: &str) -> Result<()> {
    let path = r#"--output=jsonpath={.status.conditions[?(@.type=="Ready")].reason}"#;
    until(&format!("{what} with reason {wanted}"), PATIENCE, || async {
        let seen = own.kubectl.run(["get", what, "--namespace", namespace, path]).await?;
        Ok(if seen == wanted { Seen::Done(()) } else { Seen::NotYet(seen) })
    })
    .await
}
