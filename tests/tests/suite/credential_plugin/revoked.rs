//! What kubectl shows of a key that is revoked while its token is cached.

use anyhow::{Result, ensure};
use keyplane_tests::waiting::{PATIENCE, Seen, until};

use super::holder;

#[tokio::test]
async fn once_the_token_is_dead_the_next_command_says_in_one_line_that_the_key_is_refused() -> Result<()> {
    let (own, web, key) = holder("plugin-revoked").await?;
    let kubectl = own.kubectl_of(&key).await?;
    let get = ["get", "configmaps", "--namespace", &web];
    kubectl.run(get).await?;
    own.patch_key("ci", r#"{"revoked":true}"#).await?;
    // First the cached token may nothing any more, within ten seconds it is none.
    let said = until("the token to be dead", PATIENCE, || async {
        let said = kubectl.capture(get, "").await?.failure()?;
        Ok(if said.contains("(Forbidden)") { Seen::NotYet(said) } else { Seen::Done(said) })
    })
    .await?;
    let after = kubectl.capture(get, "").await?.failure()?;
    for said in [said, after] {
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("kubectl-keyplane: ")).collect();
        ensure!(ours.len() == 1, "{said}");
        ensure!(ours.iter().all(|line| line.contains("revoked")), "{said}");
    }
    Ok(())
}
