//! When a control plane is fit to be used.

use anyhow::{Context as _, Result};
use http::Request;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{Api, Client};

use crate::waiting::{PATIENCE, Seen, until};

/// Waits until the API server says that it is ready. `check` is asked again and again whether it is worth it.
///
/// # Errors
/// When `check` fails, or it takes too long.
pub async fn api_server(client: &Client, check: impl Fn() -> Result<()>) -> Result<()> {
    until("the API server", PATIENCE, || async {
        check()?;
        Ok(match client.request_text(Request::get("/readyz").body(Vec::new())?).await {
            Ok(_) => Seen::Done(()),
            Err(error) => Seen::NotYet(error.to_string()),
        })
    })
    .await
}

/// Waits until the controllers of Kubernetes have done what everything else builds on: the `ClusterRole`
/// `edit` is filled by aggregation, and the namespace `default` has its `ServiceAccount`.
///
/// # Errors
/// When `check` fails, or it takes too long.
pub async fn controllers(client: &Client, check: impl Fn() -> Result<()>) -> Result<()> {
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    until("the controllers of Kubernetes", PATIENCE, || async {
        check()?;
        let edit = match roles.get_opt("edit").await {
            Ok(role) => role,
            Err(error) => return Ok(Seen::NotYet(error.to_string())),
        };
        if edit.and_then(|role| role.rules).is_none_or(|rules| rules.is_empty()) {
            return Ok(Seen::NotYet("the ClusterRole edit is empty".to_owned()));
        }
        Ok(match accounts.get_opt("default").await {
            Ok(Some(_)) => Seen::Done(()),
            Ok(None) => Seen::NotYet("the namespace default has no ServiceAccount".to_owned()),
            Err(error) => Seen::NotYet(error.to_string()),
        })
    })
    .await
}

/// What tells one cluster from every other: the UID of its namespace `kube-system`.
///
/// # Errors
/// When the server does not answer.
pub async fn cluster_uid(client: &Client) -> Result<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let system = until("the namespace kube-system", PATIENCE, || async {
        Ok(match namespaces.get_opt("kube-system").await? {
            Some(namespace) => Seen::Done(namespace),
            None => Seen::NotYet("it is not there".to_owned()),
        })
    })
    .await?;
    system.metadata.uid.context("the namespace kube-system has no UID")
}
