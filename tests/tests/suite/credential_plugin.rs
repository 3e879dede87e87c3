//! The credential plugin behind the clients that people use: kubectl, and programs made with kube-rs.

mod revoked;
mod shortened_exchange;
mod storm;
mod watching;

use anyhow::Result;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};

/// An account with a namespace and a key for it.
async fn holder(prefix: &str) -> Result<(Tenant, String, HeldKey)> {
    let shared = shared_keyplane().await?;
    let own = Tenant::create(shared.cluster, &shared.keyplane, prefix).await?;
    let web = own.namespace("web").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    Ok((own, web, key))
}
