//! What the exchange knows: keys by digest, the records that say which of their versions verify, and the anchors of those,
//! fed by watches.

use std::sync::Arc;

use anyhow::bail;
use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_core::api_key::{ANCHOR_TYPE, Admitted, KeyRecord, Known, Standing, standing};
use keyplane_core::key_format::KeyDigest;
use keyplane_core::ownership::{anchor_name, identity_name};
use keyplane_crds::{ApiKey, ApiKeyState, IDENTITIES_NAMESPACE};
use kube::runtime::watcher::Config;
use kube::{Api, Resource, ResourceExt};
use tokio::task::JoinSet;

use super::known_digests::{KnownDigests, Named};
use crate::index::{
    Change, Indexed, Watching, api_key_keys, contenders, digest_of_key, digests_of_key, identity_keys,
    owner_key, owner_of_key, uid_key, uid_of_key, watch_into,
};

/// More look-up keys than one object has: they are a relist's.
const MANY: usize = 64;

/// The keys, records and anchors of the cluster.
pub(crate) struct KeyIndex {
    records: Arc<Records>,
    anchors: Arc<Indexed<Secret>>,
}

/// The keys and their records, and what was put together from them.
struct Records {
    keys: Arc<Indexed<ApiKey>>,
    identities: Arc<Indexed<ServiceAccount>>,
    digests: KnownDigests,
}

/// The identity that a token is minted for.
pub(crate) struct Identity {
    /// The name of the ServiceAccount.
    pub(crate) service_account: String,
    /// Its UID.
    pub(crate) service_account_uid: String,
    /// The name of the anchor that the token is bound to.
    pub(crate) anchor: String,
    /// The UID of the anchor.
    pub(crate) anchor_uid: String,
}

/// The look-up keys of an ApiKey here.
fn keys_of_api_key(key: &ApiKey) -> Vec<String> {
    let said = key.status.as_ref().and_then(|status| status.digest.as_deref());
    let made_here = said.filter(|_| key.spec.delivery.is_some()).map(said_key);
    api_key_keys(key).into_iter().chain(made_here).collect()
}

/// The look-up key of the ApiKeys of whose versions Keyplane said that it made one with this digest.
fn said_key(digest: &str) -> String {
    format!("said/{digest}")
}

/// What the watch tells of a key.
pub(crate) enum KeySeen<'a> {
    /// It is there.
    Known(&'a Arc<ApiKey>),
    /// It was revoked a moment ago, and is refused from now on.
    Revoked(&'a Arc<ApiKey>),
    /// The key with this UID is gone.
    Deleted(&'a str),
}

/// Whether a key is revoked and its status does not say so yet.
fn is_just_revoked(key: &ApiKey) -> bool {
    let is_said = key.status.as_ref().is_some_and(|status| status.state == Some(ApiKeyState::Revoked));
    key.spec.revoked == Some(true) && !is_said
}

impl KeyIndex {
    /// An index that the given tasks keep fresh, and that tells `on_key` what it sees.
    pub(crate) fn watching(
        watching: &Watching,
        tasks: &mut JoinSet<()>,
        on_key: impl Fn(KeySeen<'_>) + Send + 'static,
    ) -> Self {
        let records = Arc::new(Records::new());
        let anchors = Arc::new(Indexed::new(|_: &Secret| Vec::new()));
        let known = records.clone();
        let on_change = move |change: Change<ApiKey>| {
            // First: whoever is told that a key was revoked may rely on it.
            known.key_changed(&change);
            for key in &change.objects {
                let stands = known.keys.get(key.metadata.namespace.as_deref(), &key.name_any());
                match stands.filter(|stands| stands.metadata.uid == key.metadata.uid) {
                    None => on_key(KeySeen::Deleted(key.metadata.uid.as_deref().unwrap_or_default())),
                    Some(key) if is_just_revoked(&key) => on_key(KeySeen::Revoked(&key)),
                    Some(key) => on_key(KeySeen::Known(&key)),
                }
            }
        };
        let keys = records.keys.clone();
        tasks.spawn(watch_into(watching, Api::all, Config::default(), keys, |_| true, on_change));
        let only_anchors = Config::default().fields(&format!("type={ANCHOR_TYPE}"));
        let in_identities = |client| Api::namespaced(client, IDENTITIES_NAMESPACE);
        tasks.spawn(watch_into(watching, in_identities, only_anchors, anchors.clone(), |_| true, |_| {}));
        let in_identities = |client| Api::namespaced(client, IDENTITIES_NAMESPACE);
        let (known, identities) = (records.clone(), records.identities.clone());
        let on_change = move |change: Change<ServiceAccount>| known.identity_changed(&change);
        let all = Config::default();
        tasks.spawn(watch_into(watching, in_identities, all, identities, |_| true, on_change));
        Self { records, anchors }
    }

    /// Waits until everything has been listed once.
    ///
    /// # Errors
    /// When a watch ended before.
    pub(crate) async fn synced(&self) -> anyhow::Result<()> {
        if self.records.keys.store().wait_until_ready().await.is_err()
            || self.records.identities.store().wait_until_ready().await.is_err()
            || self.anchors.store().wait_until_ready().await.is_err()
        {
            bail!("a watch ended before it had listed its objects");
        }
        Ok(())
    }

    /// Who names a digest, from memory.
    pub(crate) fn named(&self, digest: &KeyDigest) -> Arc<Named> {
        self.records.named(digest)
    }

    /// The key that Keyplane made with this digest and that has ended: its record is gone then, and only its status says so.
    /// For the words of a refusal, never for more.
    pub(crate) fn ended(&self, digest: &KeyDigest, now: DateTime<Utc>) -> Option<Arc<ApiKey>> {
        let found = self.records.keys.find(&said_key(&digest.to_string()));
        found.into_iter().find(|key| matches!(standing(key, now), Standing::Revoked | Standing::Expired))
    }

    /// A key as it was last seen.
    pub(crate) fn seen(&self, namespace: Option<&str>, name: &str) -> Option<Arc<ApiKey>> {
        self.records.keys.get(namespace, name)
    }

    /// The name of the key with this UID in a namespace, as far as a watch has told of it.
    pub(crate) fn name_of(&self, namespace: &str, uid: &str) -> Option<String> {
        let found = self.records.keys.find(&uid_key(uid));
        found
            .iter()
            .find(|key| key.metadata.namespace.as_deref() == Some(namespace))
            .map(|key| key.name_any())
    }

    /// Whether this replica knows that a key has ended: it takes no version of it any more.
    pub(crate) fn knows_the_end(&self, key: &ApiKey, now: DateTime<Utc>) -> bool {
        let digests = digests_of_key(key, self.records.record_of(key).as_ref());
        digests.iter().filter_map(|digest| digest.parse().ok()).all(|digest| {
            let named = self.named(&digest);
            let holder = named.holder().filter(|holder| holder.metadata.uid == key.metadata.uid);
            holder.is_none_or(|holder| standing(holder, now) != Standing::Live)
        })
    }

    /// The identity of an admitted key's version, once it stands.
    pub(crate) fn identity_of(&self, admitted: &Admitted, digest: &KeyDigest) -> Option<Identity> {
        let uid = admitted.key.uid().unwrap_or_default();
        let anchor = self.anchors.get(Some(IDENTITIES_NAMESPACE), &anchor_name(&uid, &digest.to_string()))?;
        let name = identity_name(&uid);
        let service_account = self.records.identities.get(Some(IDENTITIES_NAMESPACE), &name)?;
        let goes = |metadata: &ObjectMeta| metadata.deletion_timestamp.is_some();
        if goes(&anchor.metadata) || goes(&service_account.metadata) {
            return None;
        }
        Some(Identity {
            service_account: name,
            service_account_uid: service_account.uid().unwrap_or_default(),
            anchor: anchor.name_any(),
            anchor_uid: anchor.uid().unwrap_or_default(),
        })
    }
}

impl Records {
    fn new() -> Self {
        Self {
            keys: Arc::new(Indexed::new(keys_of_api_key)),
            identities: Arc::new(Indexed::new(identity_keys)),
            digests: KnownDigests::default(),
        }
    }

    fn named(&self, digest: &KeyDigest) -> Arc<Named> {
        self.digests.of(digest, |text| {
            let keys = contenders(&self.keys, &self.identities, text);
            keys.into_iter().map(|key| Known { record: self.record_of(&key), key }).collect()
        })
    }

    fn record_of(&self, key: &ApiKey) -> Option<KeyRecord> {
        let name = identity_name(key.metadata.uid.as_deref()?);
        KeyRecord::of(&self.identities.get(Some(IDENTITIES_NAMESPACE), &name)?.metadata)
    }

    /// A key counts for the digests that it declares or declared, and for those in its record.
    fn key_changed(&self, change: &Change<ApiKey>) {
        let identities = change
            .keys
            .iter()
            .filter_map(|key| uid_of_key(key))
            .flat_map(|uid| self.identities.find(&owner_key(uid)));
        let recorded: Vec<String> =
            identities.flat_map(|identity| identity_keys(identity.as_ref())).collect();
        self.forget(change, &recorded, uid_of_key);
    }

    /// A record counts for the digests that it holds or held, and wherever its key does.
    fn identity_changed(&self, change: &Change<ServiceAccount>) {
        self.forget(change, &[], owner_of_key);
    }

    fn forget<K: Resource>(&self, change: &Change<K>, further: &[String], uid: fn(&str) -> Option<&str>) {
        if change.keys.len() > MANY {
            return self.digests.all_changed();
        }
        let keys = change.keys.iter().chain(further);
        let digests = keys.filter_map(|key| digest_of_key(key)?.parse().ok());
        self.digests.changed(change.keys.iter().filter_map(|key| uid(key)), digests);
    }
}

#[cfg(test)]
mod tests;
