//! Revocation is immediate and measured: refused at once, Forbidden when the RoleBindings are gone, Unauthorized
//! within the API server's authentication cache.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

/// The limits that the product promises. They are its contract, so here they are asserted, not only measured.
const FORBIDDEN_WITHIN: Duration = Duration::from_secs(1);
const UNAUTHORIZED_WITHIN: Duration = Duration::from_secs(12);

/// Lists pods until the API server answers with this code, and says how long that took since `start`.
async fn until_answered(
    client: &Client,
    namespace: &str,
    code: u16,
    start: Instant,
    limit: Duration,
) -> Result<Duration> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    loop {
        let answer = pods.list(&ListParams::default().limit(1)).await;
        match answer {
            Err(kube::Error::Api(status)) if status.code == code => return Ok(start.elapsed()),
            _ if start.elapsed() > limit => bail!("not {code} within {limit:?}; the last answer: {answer:?}"),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_and_its_token_is_dead_within_the_promised_times() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "revoke").await?;
    let web = own.namespace("web").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let uid = own.stored_key("ci").await?.uid().unwrap_or_default();
    let token = own.client_of(&key).await?;
    let pods: Api<Pod> = Api::namespaced(token.clone(), &web);
    pods.list(&ListParams::default()).await?;

    own.patch_key("ci", r#"{"revoked":true}"#).await?;
    let start = Instant::now();
    let forbidden = until_answered(&token, &web, 403, start, FORBIDDEN_WITHIN).await?;
    let answer = own.exchange(&key).await?;
    ensure!(answer.status == 401, "{answer:?}");
    ensure!(
        answer.at("/detail").as_deref() == Some("Missing, invalid, revoked, or expired API key"),
        "{answer:?}"
    );
    let refused = start.elapsed();
    let unauthorized = until_answered(&token, &web, 401, start, UNAUTHORIZED_WITHIN).await?;
    println!(
        "revocation: token Forbidden after {} ms, exchange refused by {} ms, token Unauthorized after {} ms",
        forbidden.as_millis(),
        refused.as_millis(),
        unauthorized.as_millis()
    );

    let revoked = own.key_with_reason("ci", "Revoked").await?;
    let status = revoked.status.unwrap_or_default();
    ensure!(status.namespaces.is_empty(), "{status:?}");
    nothing_is_left(&own, &uid).await
}

/// The key's holder is told in one line by kubectl itself.
#[tokio::test]
async fn the_next_command_after_revocation_says_so_in_one_line() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "told").await?;
    own.namespace("web").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    own.patch_key("ci", r#"{"revoked":true}"#).await?;
    own.key_with_reason("ci", "Revoked").await?;
    let said = own.kubectl_of(&key).await?.capture(["get", "pods"], "").await?.failure()?;
    let ours: Vec<&str> = said.lines().filter(|line| line.starts_with("kubectl-keyplane:")).collect();
    ensure!(ours.len() == 1, "{said}");
    ensure!(said.contains("the key was revoked"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_deleted_key_leaves_nothing_behind() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "delete").await?;
    own.namespace("web").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let uid = own.stored_key("ci").await?.uid().unwrap_or_default();
    own.kubectl.run(["delete", "apikey", "ci", "--namespace", &own.account, "--timeout=60s"]).await?;
    // The finalizer goes last: once the object is gone, so is all that it had.
    let left = leftovers(&own, &uid).await?;
    ensure!(left.is_empty(), "{left:?}");
    let answer = own.exchange(&key).await?;
    ensure!(answer.status == 401, "{answer:?}");
    Ok(())
}

/// Somebody takes the finalizer off by force: the sweep takes away what remains.
#[tokio::test]
async fn what_a_key_leaves_without_its_finalizer_is_swept() -> Result<()> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, "sweep").await?;
    own.namespace("web").await?;
    own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    let uid = own.stored_key("ci").await?.uid().unwrap_or_default();
    let home = format!("--namespace={}", own.account);
    let patch = r#"{"metadata":{"finalizers":null}}"#;
    own.kubectl.run(["patch", "apikey", "ci", &home, "--type=merge", "-p", patch]).await?;
    own.kubectl.run(["delete", "apikey", "ci", &home, "--timeout=60s"]).await?;
    nothing_is_left(&own, &uid).await
}

async fn nothing_is_left(own: &Tenant, uid: &str) -> Result<()> {
    until("the key's objects to be gone", PATIENCE, || async {
        let left = leftovers(own, uid).await?;
        Ok(if left.is_empty() { Seen::Done(()) } else { Seen::NotYet(format!("{left:?}")) })
    })
    .await
}

/// Everything anywhere that still has the key's UID in its name.
async fn leftovers(own: &Tenant, uid: &str) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let identities = "keyplane-identities";
    let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> = Api::all(own.client());
    let accounts: Api<ServiceAccount> = Api::namespaced(own.client(), identities);
    let anchors: Api<Secret> = Api::namespaced(own.client(), identities);
    left.extend(
        bindings
            .list(&ListParams::default())
            .await?
            .iter()
            .map(|object| format!("RoleBinding {}", object.name_any())),
    );
    left.extend(
        accounts
            .list(&ListParams::default())
            .await?
            .iter()
            .map(|object| format!("ServiceAccount {}", object.name_any())),
    );
    left.extend(
        anchors
            .list(&ListParams::default())
            .await?
            .iter()
            .map(|object| format!("Secret {}", object.name_any())),
    );
    left.retain(|name| name.contains(uid));
    Ok(left)
}
