//! What an operation does that is let in: each on a resource of its own, and looked at with kubectl's eyes.

use std::fmt::Debug;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_crds::{ApiKey, Namespace, SshKey};
use keyplane_tests::http_api::HttpAnswer;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::callers::Caller;
use super::operations::{Ids, Operation, operations, public_key};
use super::outcome::told;
use super::stage::Stage;

/// What an operation changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    MakeKey,
    RenameKey,
    RevokeKey,
    RotateKey,
    UnlockKey,
    DeleteKey,
    MakeNamespace,
    DeleteNamespace,
    PanelMake,
    PanelDelete,
    GpuMake,
    GpuDefault,
    GpuDelete,
}

/// Has it done by this caller, and ensures that it is done.
pub(super) async fn done(stage: &Stage, caller: &Caller, effect: Effect, number: usize) -> Result<()> {
    let name = format!("own-{number}");
    let made = format!("new-{number}");
    let ids = prepared(stage, effect, &name, &made).await?;
    let operation = operations(&ids).into_iter().find(|one| one.effect == Some(effect)).context("it")?;
    let key_before = stored::<ApiKey>(stage, &ids.key).await?;
    let answer = operation.ask(stage, caller).await?;
    ensure!(answer.status == status(effect), "{}: {}", operation, told(&answer));
    match effect {
        Effect::MakeKey => {
            let key = stored::<ApiKey>(stage, &id(&answer, "/id")?).await?.context("no ApiKey")?;
            ensure!(key.spec.display_name == Some(made) && key.spec.scope.all == Some(true), "{key:?}");
            verifies(stage, &operation, &answer).await?;
        }
        Effect::RenameKey => {
            let key = stored::<ApiKey>(stage, &ids.key).await?.context("no ApiKey")?;
            ensure!(key.spec.display_name == Some(made), "{key:?}");
        }
        Effect::RevokeKey => {
            let key = stored::<ApiKey>(stage, &ids.key).await?.context("no ApiKey")?;
            ensure!(key.spec.revoked == Some(true), "{key:?}");
        }
        Effect::RotateKey => {
            let key = stored::<ApiKey>(stage, &ids.key).await?.context("no ApiKey")?;
            ensure!(key.spec.digest != key_before.and_then(|key| key.spec.digest), "{key:?}");
            verifies(stage, &operation, &answer).await?;
        }
        Effect::UnlockKey => {
            let key = stored::<ApiKey>(stage, &ids.key).await?.context("no ApiKey")?;
            ensure!(key.spec.unlocked_at.is_some(), "{key:?}");
        }
        Effect::DeleteKey => gone::<ApiKey>(stage, &ids.key).await?,
        Effect::MakeNamespace => {
            let found = stored::<Namespace>(stage, &id(&answer, "/id")?).await?.context("no Namespace")?;
            ensure!(found.name_any() == made, "{found:?}");
        }
        Effect::DeleteNamespace => gone::<Namespace>(stage, &ids.namespace).await?,
        Effect::PanelMake | Effect::GpuMake => {
            let pointer = if effect == Effect::GpuMake { "/_id" } else { "/data/id" };
            let found = stored::<SshKey>(stage, &id(&answer, pointer)?).await?.context("no SshKey")?;
            ensure!(found.spec.display_name == Some(made), "{found:?}");
        }
        Effect::GpuDefault => {
            // Another cell may have made another the default since; that this one asked is seen.
            let found = stored::<SshKey>(stage, &ids.ssh_key).await?.context("no SshKey")?;
            ensure!(found.spec.default.is_some(), "{found:?}");
        }
        Effect::PanelDelete | Effect::GpuDelete => gone::<SshKey>(stage, &ids.ssh_key).await?,
    }
    Ok(())
}

fn status(effect: Effect) -> u16 {
    match effect {
        Effect::MakeKey | Effect::MakeNamespace | Effect::PanelMake | Effect::GpuMake => 201,
        Effect::DeleteKey | Effect::DeleteNamespace | Effect::GpuDefault | Effect::GpuDelete => 204,
        _ => 200,
    }
}

/// What it is done to.
async fn prepared(stage: &Stage, effect: Effect, name: &str, made: &str) -> Result<Ids> {
    let own = &stage.own;
    let mut ids = Ids { new: made.to_owned(), ..stage.ids.clone() };
    match effect {
        Effect::RenameKey | Effect::RevokeKey | Effect::RotateKey | Effect::DeleteKey => {
            own.key(name, &["--scope", "inference"]).await?;
            ids.key = own.stored_key(name).await?.uid().context("a UID")?;
        }
        Effect::UnlockKey => {
            // The shared replica locks at the third use, and this machine is in no list.
            let key = own.key_from(name, "web", &["203.0.113.0/24"]).await?;
            until("the key to be locked", PATIENCE, || async {
                let answer = own.exchange(&key).await?;
                let is_locked = answer.code().as_deref() == Some("key_locked");
                Ok(if is_locked { Seen::Done(()) } else { Seen::NotYet(format!("{}", answer.status)) })
            })
            .await?;
            own.key_with_reason(name, "Locked").await?;
            ids.key = own.stored_key(name).await?.uid().context("a UID")?;
        }
        Effect::DeleteNamespace => {
            own.namespace(name).await?;
            ids.namespace = own.namespace_id(name).await?;
        }
        Effect::PanelDelete | Effect::GpuDelete | Effect::GpuDefault => {
            own.register_ssh_key(name, &public_key()).await?;
            own.wait_ready(&format!("sshkey/{name}")).await?;
            let keys: Api<SshKey> = Api::namespaced(own.client(), &own.account);
            ids.ssh_key = keys.get(name).await?.uid().context("a UID")?;
        }
        Effect::MakeKey | Effect::MakeNamespace | Effect::PanelMake | Effect::GpuMake => {}
    }
    Ok(ids)
}

fn id(answer: &HttpAnswer, pointer: &str) -> Result<String> {
    answer.at(pointer).with_context(|| format!("an id: {}", told(answer)))
}

/// Ensures that the key in an answer can be used.
async fn verifies(stage: &Stage, operation: &Operation, answer: &HttpAnswer) -> Result<()> {
    let key = answer.at("/key").with_context(|| format!("{operation}: a key"))?;
    let verified = stage.public.send(Method::GET, "/v1/verify", &[("x-api-key", &key)], b"").await?;
    ensure!(verified.status == 200, "{operation}: {verified:?}");
    Ok(())
}

/// The resource with this id, as the API server has it.
pub(super) async fn stored<K>(stage: &Stage, id: &str) -> Result<Option<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::namespaced(stage.own.client(), &stage.own.account);
    let found = api.list(&ListParams::default()).await?.items;
    Ok(found.into_iter().find(|object| object.meta().uid.as_deref() == Some(id)))
}

async fn gone<K>(stage: &Stage, id: &str) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let left = stored::<K>(stage, id).await?;
    ensure!(left.as_ref().is_none_or(|left| left.meta().deletion_timestamp.is_some()), "{left:?}");
    Ok(())
}
