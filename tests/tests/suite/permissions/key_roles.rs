//! The roles of keys beside Kubernetes' own, as the API server has both after aggregation.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use k8s_openapi::api::rbac::v1::ClusterRole;
use keyplane_tests::permissions::{Omission, RuleKey, Shipped, rights};
use keyplane_tests::shared::shared_installation;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::{Api, Client};

type Rights = BTreeSet<(RuleKey, String)>;

async fn rights_of(client: &Client, name: &str) -> Result<Rights> {
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let role = roles.get(name).await.with_context(|| format!("reading the ClusterRole {name}"))?;
    Ok(rights(&role.rules.unwrap_or_default()))
}

/// Kubernetes' controller manager fills an aggregated role in its own time.
async fn until_aggregated(client: &Client, shipped: &Shipped, name: &str) -> Result<Rights> {
    let wanted = rights(&shipped.rules_of(shipped.role(None, name)?));
    until(&format!("the aggregation of {name}"), PATIENCE, || async {
        let seen = rights_of(client, name).await?;
        if seen == wanted {
            return Ok(Seen::Done(seen));
        }
        Ok(Seen::NotYet(format!(
            "too few: {}; too many: {}",
            text(wanted.difference(&seen)),
            text(seen.difference(&wanted))
        )))
    })
    .await
}

fn text<'a>(rights: impl Iterator<Item = &'a (RuleKey, String)>) -> String {
    rights.map(|(key, verb)| format!("{verb} {key}")).collect::<Vec<_>>().join(", ")
}

async fn ours_is_theirs_without_the_omissions(level: &str) -> Result<()> {
    let (cluster, _) = shared_installation().await?;
    let client = cluster.client().await?;
    let shipped = Shipped::read()?;
    // What a role leaves out, those that aggregate it leave out too.
    let omitted: Vec<&Omission> = shipped.roles.iter().flat_map(|role| &role.omitted).collect();

    let ours = until_aggregated(&client, &shipped, &format!("keyplane:{level}")).await?;
    let theirs = rights_of(&client, level).await?;
    let expected: Rights = theirs
        .iter()
        .filter(|(key, verb)| !omitted.iter().any(|omission| omission.covers(key, verb)))
        .cloned()
        .collect();
    assert!(
        ours == expected,
        "keyplane:{level} lacks, without saying so in its annotation keyplane.dev/omitted: {}\nand has what \
         Kubernetes' own {level} has not: {}",
        text(expected.difference(&ours)),
        text(ours.difference(&expected))
    );
    Ok(())
}

#[tokio::test]
async fn keyplane_view_is_kubernetes_view_without_the_written_omissions() -> Result<()> {
    ours_is_theirs_without_the_omissions("view").await
}

#[tokio::test]
async fn keyplane_edit_is_kubernetes_edit_without_the_written_omissions() -> Result<()> {
    ours_is_theirs_without_the_omissions("edit").await
}

#[tokio::test]
async fn keyplane_admin_is_kubernetes_admin_without_the_written_omissions() -> Result<()> {
    ours_is_theirs_without_the_omissions("admin").await
}

#[tokio::test]
async fn every_written_omission_is_of_something_that_kubernetes_grants() -> Result<()> {
    let (cluster, _) = shared_installation().await?;
    let theirs = rights_of(&cluster.client().await?, "admin").await?;
    let shipped = Shipped::read()?;
    let stale: Vec<&Omission> = shipped
        .roles
        .iter()
        .flat_map(|role| &role.omitted)
        .filter(|omission| !theirs.iter().any(|(key, verb)| omission.covers(key, verb)))
        .collect();
    assert!(stale.is_empty(), "nothing is left out by: {stale:?}");
    Ok(())
}
