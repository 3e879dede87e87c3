//! What a GitOps controller sees: apply, wait, and no difference afterwards.

use anyhow::{Context as _, Result, ensure};
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::workspace;

#[tokio::test]
async fn the_examples_become_ready_and_show_no_difference_afterwards() -> Result<()> {
    let shared = shared_keyplane().await?;
    let kubectl = shared.cluster.kubectl();
    let folder = |name: &str| workspace::root().join("examples").join(name).to_string_lossy().into_owned();
    let (accounts, acme) = (folder("accounts"), folder("acme"));
    kubectl.run(["apply", "-f", &accounts]).await?;
    kubectl.run(["wait", "--for=condition=Ready", "--timeout=60s", "-f", &accounts]).await?;
    kubectl.run(["apply", "-f", &acme]).await?;
    // All four kinds, each by its own condition.
    for what in ["apikeys", "sshkeys", "namespaces.keyplane.dev"] {
        let waited = kubectl
            .run(["wait", "--for=condition=Ready", "--timeout=60s", "--all", "--namespace=acme", what])
            .await?;
        ensure!(waited.contains("condition met"), "{what}: {waited}");
    }
    let difference = kubectl.capture(["diff", "-f", &accounts, "-f", &acme], "").await?;
    ensure!(difference.code == Some(0) && difference.stdout.is_empty(), "{difference}");
    let again = kubectl.run(["apply", "-f", &accounts, "-f", &acme]).await?;
    ensure!(
        again.lines().all(|line| line.ends_with("unchanged") || line.contains("kustomization")),
        "{again}"
    );

    let table = kubectl.run(["get", "apikeys", "--namespace=acme"]).await?;
    let ci = table.lines().find(|line| line.starts_with("ci ")).context("the key ci in the table")?;
    ensure!(ci.contains("Active") && ci.contains("edit in web"), "{table}");
    Ok(())
}
