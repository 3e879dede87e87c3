//! A key that is sealed to an SSH key: whoever has the private key reads it with `age`, and nobody else does.

use anyhow::{Context as _, Result, ensure};
use chrono::Utc;
use k8s_openapi::api::core::v1::Secret;
use keyplane_crds::SshKey;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::{digest_of, ensure_told, sealed_to, tenant, until_answered};

async fn names_of_secrets(own: &Tenant) -> Result<Vec<String>> {
    let secrets: Api<Secret> = Api::namespaced(own.client(), &own.account);
    Ok(secrets.list(&ListParams::default()).await?.iter().map(ResourceExt::name_any).collect())
}

async fn sealed_to_an_own_ssh_key(kind: &str) -> Result<()> {
    let own = tenant(&format!("sealed-{kind}")).await?;
    own.namespace("web").await?;
    let laptop = own.ssh_key_pair("laptop", kind).await?;
    own.register_ssh_key("laptop", &laptop.public).await?;
    own.declare("ci", &sealed_to("laptop")).await?;
    own.wait_ready("apikey/ci").await?;

    let key = own.unsealed_key("ci", &laptop.private_file).await?;
    let status = own.stored_key("ci").await?.status.context("a status")?;
    ensure!(status.digest.as_deref() == Some(digest_of(&key)?.as_str()), "{:?}", status.digest);
    ensure!(status.version.is_some_and(|version| version.number == 1));
    until_answered(&own, &key, 200).await?;
    let secrets = names_of_secrets(&own).await?;
    ensure!(secrets.is_empty(), "a Secret was made: {secrets:?}");

    let stranger = own.ssh_key_pair("stranger", kind).await?;
    let refusal = own.unsealed_key("ci", &stranger.private_file).await.map(drop);
    let refusal = refusal.err().context("a stranger's SSH key opens it")?.to_string();
    ensure!(refusal.contains("no identity matched"), "{refusal}");
    Ok(())
}

#[tokio::test]
async fn a_key_sealed_to_an_ed25519_key_is_read_with_age_and_works() -> Result<()> {
    sealed_to_an_own_ssh_key("ed25519").await
}

#[tokio::test]
async fn a_key_sealed_to_an_rsa_key_is_read_with_age_and_works() -> Result<()> {
    sealed_to_an_own_ssh_key("rsa").await
}

#[tokio::test]
async fn a_key_waits_for_an_ssh_key_that_is_not_there_and_is_ready_when_it_is_registered() -> Result<()> {
    let own = tenant("absent").await?;
    own.namespace("web").await?;
    own.declare("ci", &sealed_to("laptop")).await?;
    let status = own.key_with_reason("ci", "RecipientNotReady").await?.status.unwrap_or_default();
    ensure!(status.sealed_key.is_none() && status.digest.is_none(), "a key was made for nobody");
    let remedy = format!("kubectl get sshkeys -n {}", own.account);
    ensure_told(&own, "ci", &["SshKey laptop", "not registered", &remedy]).await?;

    let laptop = own.ssh_key_pair("laptop", "ed25519").await?;
    own.register_ssh_key("laptop", &laptop.public).await?;
    own.wait_ready("apikey/ci").await?;
    until_answered(&own, &own.unsealed_key("ci", &laptop.private_file).await?, 200).await
}

/// An SshKey that another account registered before is no recipient: who holds the private key is not known.
#[tokio::test]
async fn a_key_waits_for_an_ssh_key_that_is_refused_and_is_ready_when_it_is_registered() -> Result<()> {
    let (own, other) = tokio::try_join!(tenant("refused"), tenant("before"))?;
    own.namespace("web").await?;
    let laptop = own.ssh_key_pair("laptop", "ed25519").await?;
    other.register_ssh_key("theirs", &laptop.public).await?;
    other.wait_ready("sshkey/theirs").await?;
    // Creation times have whole seconds; within one the UID decides. The account's own comes a second later.
    let theirs: Api<SshKey> = Api::namespaced(other.client(), &other.account);
    let created = theirs.get("theirs").await?.metadata.creation_timestamp.context("stored")?;
    until("the next second", PATIENCE, || async {
        let is_next = Utc::now().timestamp() > created.0.as_second();
        Ok(if is_next { Seen::Done(()) } else { Seen::NotYet("the same second".to_owned()) })
    })
    .await?;
    own.register_ssh_key("laptop", &laptop.public).await?;
    own.declare("ci", &sealed_to("laptop")).await?;
    let status = own.key_with_reason("ci", "RecipientNotReady").await?.status.unwrap_or_default();
    ensure!(status.sealed_key.is_none(), "a key was sealed to an SshKey that is refused");

    other.kubectl.run(["delete", "sshkey", "theirs", "--namespace", &other.account]).await?;
    own.wait_ready("sshkey/laptop").await?;
    own.wait_ready("apikey/ci").await?;
    until_answered(&own, &own.unsealed_key("ci", &laptop.private_file).await?, 200).await
}

#[tokio::test]
async fn a_key_is_not_sealed_to_an_ecdsa_key_and_says_which_types_there_are() -> Result<()> {
    let own = tenant("ecdsa").await?;
    own.namespace("web").await?;
    let token = own.ssh_key_pair("token", "ecdsa").await?;
    own.register_ssh_key("token", &token.public).await?;
    own.wait_ready("sshkey/token").await?;
    own.declare("ci", &sealed_to("token")).await?;
    let status = own.key_with_reason("ci", "RecipientUnsupported").await?.status.unwrap_or_default();
    ensure!(status.sealed_key.is_none() && status.digest.is_none(), "a key was made for nobody");
    let words = ["SshKey token", "ecdsa-sha2-nistp256", "ssh-ed25519", "ssh-rsa"];
    ensure_told(&own, "ci", &words).await?;

    // Another SshKey takes its name.
    own.kubectl.run(["delete", "sshkey", "token", "--namespace", &own.account]).await?;
    let laptop = own.ssh_key_pair("laptop", "ed25519").await?;
    own.register_ssh_key("token", &laptop.public).await?;
    own.wait_ready("apikey/ci").await?;
    until_answered(&own, &own.unsealed_key("ci", &laptop.private_file).await?, 200).await
}
