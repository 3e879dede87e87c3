//! Keys managed from the terminal: `kubectl keyplane ...`, through kubectl, with the rights of an account's owner.

mod completion;
mod lock;
mod reveal;
mod rotate;
mod ssh_key;

use anyhow::{Context as _, Result, ensure};
use keyplane_crds::ApiKeyState;
use keyplane_tests::kubectl::Kubectl;
use keyplane_tests::plaintext_registry;
use keyplane_tests::tenant::{HeldKey, Tenant};
use serde_json::Value;

use crate::delivery::{tenant, until_answered};

/// An account with the namespace `web`, and kubectl of its owner.
async fn owner(prefix: &str) -> Result<(Tenant, Kubectl)> {
    let own = tenant(prefix).await?;
    own.namespace("web").await?;
    let kubectl = own.kubectl_of_person(&own.owner_token().await?)?;
    Ok((own, kubectl))
}

/// What `kubectl keyplane` printed, which must succeed.
async fn keyplane(kubectl: &Kubectl, arguments: &[&str]) -> Result<String> {
    kubectl.run([&["keyplane"], arguments].concat()).await
}

/// The one line that `kubectl keyplane` failed with, and this exit code.
async fn fails(kubectl: &Kubectl, arguments: &[&str], code: i32) -> Result<String> {
    let ended = kubectl.capture([&["keyplane"], arguments].concat(), "").await?;
    ensure!(ended.code == Some(code) && ended.stdout.is_empty(), "{ended}");
    ensure!(ended.stderr.lines().count() == 1, "{ended}");
    Ok(ended.stderr)
}

fn ensure_says(text: &str, words: &[&str]) -> Result<()> {
    ensure!(words.iter().all(|word| text.contains(word)), "{words:?} are not all in: {text}");
    Ok(())
}

#[tokio::test]
async fn an_owner_lists_keys_and_a_stranger_is_told_whom_to_ask() -> Result<()> {
    let (own, kubectl) = owner("listed").await?;
    ensure_says(
        &keyplane(&kubectl, &["apikeys", "list"]).await?,
        &["No API keys found in namespace", "home namespace"],
    )?;
    let arguments = ["--kubernetes-namespace", "web", "--expires-at", "2199-01-01T00:00:00Z"];
    let key = own.key("ci", &arguments).await?;
    let table = keyplane(&kubectl, &["apikeys", "list", "-n", &own.account]).await?;
    let prefix = &key.plaintext()?[..8];
    ensure_says(&table, &["NAME", "LAST USED", "ci ", prefix, "Active", "edit in web", "in 17", "never"])?;
    let listed: Value = serde_json::from_str(&keyplane(&kubectl, &["apikeys", "list", "-o", "json"]).await?)?;
    ensure!(listed[0]["name"] == "ci" && listed[0]["prefix"] == *prefix, "{listed}");
    ensure!(
        listed[0]["expiresAt"] == "2199-01-01T00:00:00Z" && listed[0]["scope"] == "edit in web",
        "{listed}"
    );

    let line = fails(&kubectl, &["apikeys", "list", "-A"], 14).await?;
    ensure_says(&line, &["forbidden", "ask an owner of the account"])?;
    let viewer = own.kubectl_of_person(&own.viewer_token().await?)?;
    ensure_says(&keyplane(&viewer, &["apikeys", "list"]).await?, &["ci "])?;
    ensure_says(&fails(&viewer, &["apikeys", "revoke", "ci", "--yes"], 14).await?, &["forbidden"])?;
    let line = fails(&kubectl, &["apikeys", "revoke", "no-such", "--yes"], 14).await?;
    ensure_says(&line, &["not found", "check the name"])
}

#[tokio::test]
async fn a_key_is_made_and_declared_at_once_and_never_in_the_place_of_another() -> Result<()> {
    let (own, kubectl) = owner("applied").await?;
    let file = own.dir().join("made.key");
    let path = file.to_str().context("a path")?;
    let generate = ["generate", "--name", "made", "--kubernetes-namespace", "web", "--apply", "--key-out"];
    let said = keyplane(&kubectl, &[&generate[..], &[path]].concat()).await?;
    ensure_says(&said, &["ApiKey made in namespace ", " is Active: edit in web."])?;
    let key = HeldKey { name: "made".to_owned(), file: file.clone() };
    plaintext_registry::key(&key.plaintext()?)?;
    until_answered(&own, &key, 200).await?;

    let other = own.dir().join("other.key");
    let path = other.to_str().context("a path")?;
    let line = fails(&kubectl, &[&generate[..], &[path]].concat(), 14).await?;
    ensure_says(&line, &["already exists", "choose another name"])?;
    ensure!(!other.exists(), "the file of a key that was not declared is in the way of the next attempt");
    own.until_admitted(&key).await?;

    // A key that does not work is no success, and its file is named.
    let typo = own.dir().join("typo.key");
    let path = typo.to_str().context("a path")?;
    let arguments =
        ["generate", "--name", "typo", "--kubernetes-namespace", "wbe", "--apply", "--key-out", path];
    let line = fails(&kubectl, &arguments, 14).await?;
    ensure_says(
        &line,
        &["does not work (NamespaceNotOwned)", "wbe", path, "kubectl delete apikey typo -n "],
    )?;
    ensure!(typo.exists());
    Ok(())
}

#[tokio::test]
async fn a_key_is_revoked_only_when_that_was_confirmed_and_it_is_told_how_long_it_took() -> Result<()> {
    let (own, kubectl) = owner("revoked").await?;
    let key = own.key("ci", &["--kubernetes-namespace", "web"]).await?;
    until_answered(&own, &key, 200).await?;
    let line = fails(&kubectl, &["apikeys", "revoke", "ci"], 2).await?;
    ensure_says(&line, &["nobody is there to confirm", "--yes"])?;
    ensure!(own.stored_key("ci").await?.spec.revoked.is_none(), "revoked without being confirmed");

    let said = keyplane(&kubectl, &["apikeys", "revoke", "ci", "--yes"]).await?;
    ensure_says(&said, &["ApiKey ci is revoked.", "Refused by every exchange after ", " ms."])?;
    ensure!(own.exchange(&key).await?.status == 401);
    let state = own.stored_key("ci").await?.status.and_then(|status| status.state);
    ensure!(state == Some(ApiKeyState::Revoked), "{state:?}");

    ensure_says(&keyplane(&kubectl, &["apikeys", "revoke", "ci", "--yes"]).await?, &["was revoked before"])?;
    for command in ["rotate", "unlock"] {
        ensure_says(&fails(&kubectl, &["apikeys", command, "ci"], 2).await?, &["over for good"])?;
    }
    Ok(())
}
