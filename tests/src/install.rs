//! Installs Keyplane into a cluster as an administrator does.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use crate::access::Access;
use crate::kubectl::Kubectl;
use crate::{plaintext_registry, private_file, workspace};

/// The resource definitions, from the root of the checkout.
const DEFINITIONS: &str = "crds/generated/";
/// Namespaces, `ServiceAccounts` and RBAC: the files that the chart ships.
const MANIFESTS: &str = "charts/keyplane/files/";
/// The namespace that Keyplane itself runs in.
const SYSTEM_NAMESPACE: &str = "keyplane-system";
/// As long as a test run or a day of development.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// The context and `ServiceAccount` of the reconcilers.
pub const CONTROLLER: &str = "keyplane-controller";
/// The context and `ServiceAccount` of the HTTP API.
pub const API: &str = "keyplane-api";

/// An installed Keyplane, ready to be started.
#[derive(Debug, Clone)]
pub struct Installation {
    /// A kubeconfig with the contexts [`CONTROLLER`] and [`API`]: Keyplane runs with the RBAC that is shipped,
    /// never as an administrator.
    pub kubeconfig: PathBuf,
}

/// Applies the resource definitions and the manifests, and writes a kubeconfig of Keyplane's own identities
/// into `dir`. Doing it again changes nothing but renews the tokens (24 hours).
///
/// # Errors
/// When the cluster refuses something, in its own words.
pub async fn install(kubectl: &Kubectl, access: &Access, dir: &Path) -> Result<Installation> {
    apply(kubectl, DEFINITIONS).await?;
    apply(kubectl, MANIFESTS).await?;
    let definitions = in_checkout(DEFINITIONS);
    kubectl.run(["wait", "--for=condition=Established", "--timeout=60s", "-f", &definitions]).await?;

    let client = access.client().await?;
    for identity in [CONTROLLER, API] {
        private_file::write(&token_file(dir, identity), mint(&client, identity).await?)?;
    }
    let kubeconfig = dir.join("keyplane.kubeconfig");
    private_file::write(&kubeconfig, identities(access, dir)?)?;
    Ok(Installation { kubeconfig })
}

async fn apply(kubectl: &Kubectl, files: &str) -> Result<()> {
    let path = in_checkout(files);
    kubectl
        .run(["apply", "--server-side", "--field-manager=keyplane-install", "-f", &path])
        .await
        .with_context(|| format!("installing {files}"))?;
    Ok(())
}

fn in_checkout(files: &str) -> String {
    workspace::root().join(files).to_string_lossy().into_owned()
}

/// A token of one of Keyplane's `ServiceAccounts` (TokenRequest, authentication.k8s.io/v1).
async fn mint(client: &Client, identity: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let granted = accounts
        .create_token_request(identity, &PostParams::default(), &request)
        .await
        .with_context(|| format!("no token for the ServiceAccount {SYSTEM_NAMESPACE}/{identity}"))?;
    let token =
        granted.status.and_then(|status| status.token).context("the server granted an empty token")?;
    plaintext_registry::token(&token)?;
    Ok(token)
}

/// Tokens are in files of their own: clients read those again, so a running Keyplane sees a renewed token.
fn token_file(dir: &Path, identity: &str) -> PathBuf {
    dir.join(format!("{identity}.token"))
}

fn identities(access: &Access, dir: &Path) -> Result<Vec<u8>> {
    let each = [CONTROLLER, API];
    Ok(serde_json::to_vec_pretty(&json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": access.cluster()?}],
        "users": each.map(|name| json!({"name": name, "user": {"tokenFile": token_file(dir, name)}})),
        "contexts": each.map(|name| json!({"name": name, "context": {"cluster": "cluster", "user": name}})),
        "current-context": CONTROLLER,
    }))?)
}
