//! `kubectl keyplane apikeys rotate`, for keys of one's own and for those that Keyplane makes.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use keyplane_tests::plaintext_registry;
use keyplane_tests::tenant::HeldKey;

use super::{ensure_says, fails, keyplane, owner};
use crate::delivery::{sealed_to, to_secret, until_answered};

fn held(name: &str, file: &Path) -> Result<HeldKey> {
    let key = HeldKey { name: name.to_owned(), file: file.to_path_buf() };
    plaintext_registry::key(&key.plaintext()?)?;
    Ok(key)
}

#[tokio::test]
async fn a_key_of_ones_own_is_replaced_and_the_one_before_works_for_its_grace() -> Result<()> {
    let (own, kubectl) = owner("rotated").await?;
    let first = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    until_answered(&own, &first, 200).await?;
    let file = own.dir().join("second.key");
    let path = file.to_str().context("a path")?;
    let arguments = ["apikeys", "rotate", "ci", "--grace", "1h", "--key-out", path];
    let said = keyplane(&kubectl, &arguments).await?;
    ensure_says(&said, &["ApiKey ci has a new key (kpk_", "version 2", "The key before it works until "])?;
    let second = held("ci", &file)?;
    ensure!(!said.contains(&second.plaintext()?), "the key is in its file alone");
    until_answered(&own, &second, 200).await?;
    own.still_admitted(&first).await.context("within its grace")?;
    let prefix = own.stored_key("ci").await?.status.and_then(|status| status.prefix);
    ensure!(prefix.as_deref() == second.plaintext()?.get(..8), "{prefix:?}");

    // The file is not overwritten, and nothing is declared that nobody has.
    ensure_says(&fails(&kubectl, &arguments, 11).await?, &["already exists"])?;
    own.until_admitted(&second).await?;

    // Shown once, on the terminal.
    let ended = kubectl.capture(["keyplane", "apikeys", "rotate", "ci", "--grace", "0"], "").await?;
    let shown = ended.stderr.lines().find(|line| line.starts_with("kpk_")).context("no key")?.to_owned();
    plaintext_registry::key(&shown)?;
    ensure_says(&ended.success()?, &["version 3", "The key before it is refused."])?;
    ensure!(own.exchange(&second).await?.status == 401);
    let third = own.dir().join("third.key");
    std::fs::write(&third, &shown)?;
    until_answered(&own, &held("ci", &third)?, 200).await
}

#[tokio::test]
async fn a_delivered_key_is_asked_for_anew_and_it_is_told_where_it_is() -> Result<()> {
    let (own, kubectl) = owner("redelivered").await?;
    own.declare("deploy", &to_secret("deploy-key")).await?;
    own.wait_ready("apikey/deploy").await?;
    let first = own.delivered_key("deploy-key").await?;
    until_answered(&own, &first, 200).await?;
    let line = fails(&kubectl, &["apikeys", "rotate", "deploy", "--key-out", "deploy.key"], 2).await?;
    ensure_says(&line, &["Keyplane makes this key", "the Secret deploy-key"])?;

    let said = keyplane(&kubectl, &["apikeys", "rotate", "deploy"]).await?;
    ensure_says(&said, &["will be in the Secret deploy-key", "version 2", "kubectl get secret/deploy-key"])?;
    let second = own.delivered_key("deploy-key").await?;
    ensure!(first.plaintext()? != second.plaintext()?);
    until_answered(&own, &second, 200).await?;
    ensure!(own.exchange(&first).await?.status == 401);

    // Again, with what is printed: nobody waits.
    let said = keyplane(&kubectl, &["apikeys", "rotate", "deploy", "--no-wait", "--grace", "30m"]).await?;
    ensure_says(&said, &["is asked for"])?;
    ensure!(!said.contains("version"), "{said}");
    let rotation = own.stored_key("deploy").await?.spec.rotation.context("a rotation")?;
    ensure!(rotation.grace_period_seconds == Some(1800), "{rotation:?}");
    super::super::rotation::until_version(&own, "deploy", 3).await?;
    own.delivered_key("deploy-key").await.map(drop)
}

#[tokio::test]
async fn what_keeps_a_rotation_from_its_end_is_told_in_the_words_of_the_warning() -> Result<()> {
    let (own, kubectl) = owner("unsealable").await?;
    let laptop = own.ssh_key_pair("laptop", "ed25519").await?;
    let public = format!("{}.pub", laptop.private_file.display());
    keyplane(&kubectl, &["ssh-key", "add", &public, "--name", "laptop"]).await?;
    own.declare("oncall", &sealed_to("laptop")).await?;
    own.wait_ready("apikey/oncall").await?;
    let ended = kubectl.capture(["keyplane", "ssh-key", "remove", "laptop", "--yes"], "").await?;
    ensure_says(&ended.stderr, &["sealed to SshKey laptop: oncall"])?;
    let arguments = ["keyplane", "apikeys", "rotate", "oncall", "--timeout", "10s"];
    let ended = kubectl.capture(arguments, "").await?;
    ensure!(ended.code == Some(14), "{ended}");
    ensure_says(&ended.stderr, &["RecipientNotReady", "SshKey laptop", "register one of type ssh-ed25519"])
}
