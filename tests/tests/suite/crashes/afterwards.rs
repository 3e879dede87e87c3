//! What a key has, and what is remembered of it: the facts in the cluster, whatever a status says.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use keyplane_core::api_key::{KeyRecord, digests_of, shard_name};
use keyplane_core::ownership::{DIGEST_ANNOTATION, anchor_name, identity_name, owner_uid_label};
use keyplane_core::readiness::Status as _;
use keyplane_crds::{ApiKey, IDENTITIES_NAMESPACE};
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::Seen;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use crate::delivery::{digest_of, until_answered};

/// The UID of an ApiKey.
pub(super) async fn uid(own: &Tenant, name: &str) -> Result<String> {
    own.stored_key(name).await?.uid().context("a stored object has a UID")
}

/// Whether this version of a key or a later one is the live one, and the key ready as it is declared now. A version
/// that was lost before it was handed over keeps its number.
pub(super) fn has_version(key: &ApiKey, least: u32) -> Seen<()> {
    let status = key.status.clone().unwrap_or_default();
    let is_live = status.version.as_ref().is_some_and(|version| version.number >= least);
    if is_live && status.is_ready_at(key.metadata.generation) {
        Seen::Done(())
    } else {
        Seen::NotYet(format!("{:?}, {:?}", status.version, status.conditions))
    }
}

/// The names of the key's anchors.
pub(super) async fn anchors(own: &Tenant, uid: &str) -> Result<BTreeSet<String>> {
    let secrets: Api<Secret> = Api::namespaced(own.client(), IDENTITIES_NAMESPACE);
    let names = secrets.list(&ListParams::default()).await?.items.into_iter().map(|secret| secret.name_any());
    Ok(names.filter(|name| name.contains(uid)).collect())
}

/// The core Namespaces in which the key is bound.
pub(super) async fn bound_in(own: &Tenant, uid: &str) -> Result<BTreeSet<String>> {
    let bindings: Api<RoleBinding> = Api::all(own.client());
    let all = bindings.list(&ListParams::default()).await?.items;
    Ok(all
        .into_iter()
        .filter(|binding| binding.name_any().contains(uid))
        .filter_map(|binding| binding.namespace())
        .collect())
}

/// The key's record; none without its ServiceAccount.
pub(super) async fn record(own: &Tenant, uid: &str) -> Result<Option<KeyRecord>> {
    let identities: Api<ServiceAccount> = Api::namespaced(own.client(), IDENTITIES_NAMESPACE);
    let Some(identity) = identities.get_opt(&identity_name(uid)).await? else { return Ok(None) };
    KeyRecord::of(&identity.metadata).context("a ServiceAccount without a record").map(Some)
}

/// The digests of the account that are remembered as revoked.
pub(super) async fn remembered(own: &Tenant) -> Result<BTreeSet<String>> {
    let shards: Api<ConfigMap> = Api::namespaced(own.client(), IDENTITIES_NAMESPACE);
    let shard = shards.get_opt(&shard_name(&own.account, 0)).await?;
    Ok(shard.iter().flat_map(digests_of).collect())
}

/// Holds when the key has one live version, which is `live`, and beside it `previous` within its grace; these verify,
/// and nothing is under way.
pub(super) async fn ensure_verifies(
    own: &Tenant,
    name: &str,
    live: &HeldKey,
    previous: Option<&HeldKey>,
) -> Result<()> {
    let key = own.stored_key(name).await?;
    let uid = key.uid().context("a stored object has a UID")?;
    let digest = digest_of(live)?;
    let status = key.status.unwrap_or_default();
    let is_made_here = key.spec.delivery.is_some();
    ensure!(status.digest.as_ref() == is_made_here.then_some(&digest), "{:?}: {digest}", status.digest);

    let record = record(own, &uid).await?.context("no ServiceAccount")?;
    let replaced = previous.map(digest_of).transpose()?;
    let recorded = record.previous.as_ref().map(|retired| retired.version.digest.clone());
    ensure!(record.live.as_ref().is_some_and(|live| live.digest == digest), "{record:?}: {digest}");
    ensure!(recorded == replaced, "{record:?}: {replaced:?}");
    ensure!(record.pending.is_none() && record.ended.is_empty(), "{record:?}");

    let wanted: BTreeSet<String> =
        replaced.iter().chain([&digest]).map(|digest| anchor_name(&uid, digest)).collect();
    let anchors = anchors(own, &uid).await?;
    ensure!(anchors == wanted, "{anchors:?}, not {wanted:?}");
    let bound = bound_in(own, &uid).await?;
    ensure!(bound == BTreeSet::from([format!("{}-web", own.account)]), "{bound:?}");
    until_answered(own, live, 200).await?;
    match previous {
        Some(previous) => until_answered(own, previous, 200).await,
        None => Ok(()),
    }
}

/// Takes the key out of the one Secret that the ApiKey of this name has, which is called the same.
pub(super) async fn delivered(own: &Tenant, name: &str) -> Result<HeldKey> {
    let uid = uid(own, name).await?;
    let secrets: Api<Secret> = Api::namespaced(own.client(), &own.account);
    let all = secrets.list(&ListParams::default()).await?.items;
    let is_owned = |secret: &&Secret| {
        secret.owner_references().iter().any(|owner| owner.uid == uid)
            || owner_uid_label(&secret.metadata) == Some(uid.as_str())
    };
    let owned: Vec<&Secret> = all.iter().filter(is_owned).collect();
    // Not the Secrets themselves: they hold keys.
    let names: Vec<String> = owned.iter().map(|secret| secret.name_any()).collect();
    ensure!(names == [name], "{names:?}");
    let key = own.delivered_key(name).await?;
    let digest = digest_of(&key)?;
    for secret in owned {
        ensure!(secret.owner_references().iter().all(|owner| owner.uid == uid), "{:?}", secret.metadata);
        ensure!(secret.annotations().get(DIGEST_ANNOTATION) == Some(&digest), "{:?}", secret.metadata);
    }
    Ok(key)
}
