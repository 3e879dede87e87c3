//! `kubectl keyplane ssh-key`.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{ensure_says, fails, keyplane, owner};

#[tokio::test]
async fn a_public_key_is_registered_listed_and_removed_and_a_private_one_never_sent() -> Result<()> {
    let (own, kubectl) = owner("registered").await?;
    let laptop = own.ssh_key_pair("laptop", "ed25519").await?;
    let private = laptop.private_file.to_str().context("a path")?;
    let public = format!("{private}.pub");
    let line = fails(&kubectl, &["ssh-key", "add", private], 2).await?;
    ensure_says(&line, &["this is a private key, and was sent nowhere"])?;
    ensure_says(&keyplane(&kubectl, &["ssh-key", "list"]).await?, &["No SSH keys found in namespace"])?;

    // The name is the comment's.
    let said = keyplane(&kubectl, &["ssh-key", "add", &public, "--default"]).await?;
    ensure_says(&said, &["SshKey laptop is registered: ssh-ed25519 SHA256:", "default key"])?;
    let listed: Value = serde_json::from_str(&keyplane(&kubectl, &["ssh-key", "list", "-o", "json"]).await?)?;
    let fingerprint = listed[0]["fingerprint"].as_str().context("a fingerprint")?;
    ensure!(said.contains(fingerprint) && listed[0]["default"] == true, "{listed}");
    ensure_says(&keyplane(&kubectl, &["ssh-key", "list"]).await?, &["laptop", fingerprint, "Registered"])?;

    for more in [&[][..], &["--name", "again"]] {
        let said = keyplane(&kubectl, &[&["ssh-key", "add", &public], more].concat()).await?;
        ensure_says(&said, &["already registered as laptop", fingerprint])?;
    }
    let (stranger, strangers) = owner("registered-other").await?;
    let home = &stranger.account;
    let line = fails(&strangers, &["ssh-key", "add", &public, "--name", "again", "-n", home], 14).await?;
    ensure_says(&line, &["DuplicatePublicKey", &format!("kubectl-keyplane ssh-key remove again -n {home}")])?;
    // Else theirs would stand once this one is removed.
    keyplane(&strangers, &["ssh-key", "remove", "again", "-n", home, "--yes"]).await?;
    let line = fails(&kubectl, &["ssh-key", "remove", "laptop"], 2).await?;
    ensure_says(&line, &["nobody is there to confirm", "--yes"])?;
    let said = keyplane(&kubectl, &["ssh-key", "remove", "laptop", "--yes"]).await?;
    ensure_says(&said, &["SshKey laptop is removed", fingerprint])?;
    let given =
        kubectl.capture(["keyplane", "ssh-key", "add", "-", "--name", "given"], &laptop.public).await?;
    ensure_says(&given.success()?, &["SshKey given is registered"])
}
