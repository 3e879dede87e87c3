//! `kubectl keyplane reveal`: a sealed key, for whoever has the private SSH key.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use keyplane_tests::plaintext_registry;
use keyplane_tests::tenant::HeldKey;

use super::{ensure_says, fails, keyplane, owner};
use crate::delivery::{sealed_to, until_answered};

async fn revealed(kind: &str) -> Result<()> {
    let (own, kubectl) = owner(&format!("revealed-{kind}")).await?;
    let laptop = own.ssh_key_pair("laptop", kind).await?;
    let public = format!("{}.pub", laptop.private_file.display());
    let private = laptop.private_file.to_str().context("a path")?;
    keyplane(&kubectl, &["ssh-key", "add", &public, "--name", "laptop"]).await?;
    own.declare("oncall", &sealed_to("laptop")).await?;
    own.wait_ready("apikey/oncall").await?;

    let file = own.dir().join("oncall.key");
    let path = file.to_str().context("a path")?;
    let line = fails(&kubectl, &["reveal", "oncall", "--ssh-key", private], 2).await?;
    ensure_says(&line, &["standard output is no terminal", "--key-out"])?;
    keyplane(&kubectl, &["reveal", "oncall", "--ssh-key", private, "--key-out", path]).await?;
    let first = HeldKey { name: "oncall".to_owned(), file: file.clone() };
    plaintext_registry::key(&first.plaintext()?)?;
    ensure!(file.metadata()?.permissions().mode() & 0o777 == 0o600);
    until_answered(&own, &first, 200).await?;
    let line = fails(&kubectl, &["reveal", "oncall", "--ssh-key", private, "--key-out", path], 11).await?;
    ensure_says(&line, &["already exists"])?;

    let stranger = own.ssh_key_pair("stranger", kind).await?;
    let other = stranger.private_file.to_str().context("a path")?;
    let line = fails(&kubectl, &["reveal", "oncall", "--ssh-key", other, "--key-out", "-"], 3).await?;
    ensure_says(&line, &["sealed to another SSH key"])?;
    let line = fails(&kubectl, &["reveal", "oncall", "--ssh-key", &public, "--key-out", "-"], 3).await?;
    ensure_says(&line, &["SSH key", "--ssh-key"])?;

    // Another key is sealed to the same; it is opened with the key of ~/.ssh that fits.
    let said = keyplane(&kubectl, &["apikeys", "rotate", "oncall"]).await?;
    ensure_says(
        &said,
        &["will be sealed to the SshKey laptop", "version 2", "kubectl-keyplane reveal oncall"],
    )?;
    let home = own.dir().join("home");
    std::fs::create_dir_all(home.join(".ssh"))?;
    let at_home = kubectl.clone().with_env("HOME", &home);
    let line = fails(&at_home, &["reveal", "oncall", "--key-out", "-"], 3).await?;
    ensure_says(&line, &["no key of yours is the SshKey laptop", "SHA256:", "--ssh-key"])?;
    std::fs::copy(&laptop.private_file, home.join(".ssh/id_laptop"))?;
    std::fs::write(home.join(".ssh/id_laptop.pub"), &laptop.public)?;
    let printed = keyplane(&at_home, &["reveal", "oncall", "--key-out", "-"]).await?;
    plaintext_registry::key(printed.trim_end())?;
    ensure!(printed.trim_end() != first.plaintext()?);
    let second = HeldKey { name: "oncall".to_owned(), file: own.dir().join("second.key") };
    std::fs::write(&second.file, &printed)?;
    until_answered(&own, &second, 200).await
}

#[tokio::test]
async fn a_key_sealed_to_an_ed25519_key_is_revealed_to_its_holder_alone() -> Result<()> {
    revealed("ed25519").await
}

#[tokio::test]
async fn a_key_sealed_to_an_rsa_key_is_revealed_to_its_holder_alone() -> Result<()> {
    revealed("rsa").await
}
