//! `kubectl keyplane <TAB>`, as kubectl itself completes it.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use keyplane_tests::workspace;

use super::{keyplane, owner};

#[tokio::test]
async fn kubectl_offers_the_plugins_commands_and_the_names_of_keys() -> Result<()> {
    let (own, kubectl) = owner("completed").await?;
    own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    own.key("cron", &["--scope", "inference"]).await?;
    let script = own.dir().join("kubectl_complete-keyplane");
    std::fs::write(&script, keyplane(&kubectl, &["completion", "kubectl"]).await?)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    let programs = kubectl.program().parent().context("a folder")?;
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(
        [own.dir(), &workspace::binary_dir()?, programs]
            .into_iter()
            .map(std::path::Path::to_path_buf)
            .chain(std::env::split_paths(&rest)),
    )?;
    let kubectl = kubectl.with_env("PATH", path);
    for (words, wanted) in [
        (&["api"][..], &["apikeys"][..]),
        (&["apikeys", "rev"], &["revoke"]),
        (&["apikeys", "revoke", ""], &["ci", "cron"]),
        (&["apikeys", "rotate", "-n", &own.account, "cr"], &["cron"]),
        (&["reveal", "c"], &["ci", "cron"]),
    ] {
        let offered = kubectl.run([&["__complete", "keyplane"], words].concat()).await?;
        let offered: Vec<&str> = offered
            .lines()
            .filter(|line| !line.starts_with(':'))
            .filter_map(|line| line.split('\t').next())
            .collect();
        ensure!(offered == wanted, "{words:?}: {offered:?}");
    }
    Ok(())
}
