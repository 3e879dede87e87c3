//! What the exchange knows: keys by digest, the records that say which of their versions verify, and the anchors of those,
//! fed by watches.

use std::sync::Arc;

use anyhow::bail;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use keyplane_core::api_key::{ANCHOR_TYPE, Admitted, KeyRecord, Known, Presented, Refusal, admit, holder};
use keyplane_core::key_format::KeyDigest;
use keyplane_core::ownership::{anchor_name, identity_name};
use keyplane_crds::{ApiKey, ApiKeyState, IDENTITIES_NAMESPACE};
use kube::runtime::watcher::Config;
use kube::{Api, ResourceExt};
use tokio::task::JoinSet;

use crate::index::{Change, Indexed, Watching, api_key_keys, contenders, identity_keys, uid_key, watch_into};

/// The keys, records and anchors of the cluster.
pub(crate) struct KeyIndex {
    keys: Arc<Indexed<ApiKey>>,
    identities: Arc<Indexed<ServiceAccount>>,
    anchors: Arc<Indexed<Secret>>,
}

/// The identity that a token is minted for.
pub(crate) struct Identity {
    /// The name of the ServiceAccount.
    pub(crate) service_account: String,
    /// The name of the anchor that the token is bound to.
    pub(crate) anchor: String,
    /// The UID of the anchor.
    pub(crate) anchor_uid: String,
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
        watching: impl Into<Watching>,
        tasks: &mut JoinSet<()>,
        on_key: impl Fn(KeySeen<'_>) + Send + 'static,
    ) -> Self {
        let keys = Arc::new(Indexed::new(api_key_keys));
        let identities = Arc::new(Indexed::new(identity_keys));
        let anchors = Arc::new(Indexed::new(|_: &Secret| Vec::new()));
        let known = keys.clone();
        let on_change = move |change: Change<ApiKey>| {
            for key in &change.objects {
                let stands = known.get(key.metadata.namespace.as_deref(), &key.name_any());
                match stands.filter(|stands| stands.metadata.uid == key.metadata.uid) {
                    None => on_key(KeySeen::Deleted(key.metadata.uid.as_deref().unwrap_or_default())),
                    Some(key) if is_just_revoked(&key) => on_key(KeySeen::Revoked(&key)),
                    Some(key) => on_key(KeySeen::Known(&key)),
                }
            }
        };
        let watching = watching.into();
        tasks.spawn(watch_into(&watching, Api::all, Config::default(), keys.clone(), |_| true, on_change));
        let only_anchors = Config::default().fields(&format!("type={ANCHOR_TYPE}"));
        let in_identities = |client| Api::namespaced(client, IDENTITIES_NAMESPACE);
        tasks.spawn(watch_into(&watching, in_identities, only_anchors, anchors.clone(), |_| true, |_| {}));
        let in_identities = |client| Api::namespaced(client, IDENTITIES_NAMESPACE);
        let all = Config::default();
        tasks.spawn(watch_into(&watching, in_identities, all, identities.clone(), |_| true, |_| {}));
        Self { keys, identities, anchors }
    }

    /// Waits until everything has been listed once.
    ///
    /// # Errors
    /// When a watch ended before.
    pub(crate) async fn synced(&self) -> anyhow::Result<()> {
        if self.keys.store().wait_until_ready().await.is_err()
            || self.identities.store().wait_until_ready().await.is_err()
            || self.anchors.store().wait_until_ready().await.is_err()
        {
            bail!("a watch ended before it had listed its objects");
        }
        Ok(())
    }

    /// The key that holds this digest, live or not: only for the log, never for an answer.
    pub(crate) fn declared(&self, digest: &KeyDigest) -> Option<Arc<ApiKey>> {
        let digest = digest.to_string();
        holder(&self.naming(&digest), &digest).map(|known| known.key.clone())
    }

    /// A key as it was last seen.
    pub(crate) fn seen(&self, namespace: Option<&str>, name: &str) -> Option<Arc<ApiKey>> {
        self.keys.get(namespace, name)
    }

    /// The name of the key with this UID in a namespace, as far as a watch has told of it.
    pub(crate) fn name_of(&self, namespace: &str, uid: &str) -> Option<String> {
        let found = self.keys.find(&uid_key(uid));
        found
            .iter()
            .find(|key| key.metadata.namespace.as_deref() == Some(namespace))
            .map(|key| key.name_any())
    }

    /// Decides about a use of a key, from memory.
    ///
    /// # Errors
    /// Why the key may not be used.
    pub(crate) fn admit(&self, presented: Presented<'_>) -> Result<Admitted, Refusal> {
        admit(&self.naming(presented.digest), presented)
    }

    /// The identity of an admitted key's version, once it stands.
    pub(crate) fn identity_of(&self, admitted: &Admitted, digest: &KeyDigest) -> Option<Identity> {
        let uid = admitted.key.uid().unwrap_or_default();
        let anchor = self.anchors.get(Some(IDENTITIES_NAMESPACE), &anchor_name(&uid, &digest.to_string()))?;
        if anchor.metadata.deletion_timestamp.is_some() {
            return None;
        }
        Some(Identity {
            service_account: identity_name(&uid),
            anchor: anchor.name_any(),
            anchor_uid: anchor.uid().unwrap_or_default(),
        })
    }

    /// The keys that may hold a digest, with their records.
    fn naming(&self, digest: &str) -> Vec<Known> {
        let keys = contenders(&self.keys, &self.identities, digest);
        keys.into_iter().map(|key| Known { record: self.record_of(&key), key }).collect()
    }

    fn record_of(&self, key: &ApiKey) -> Option<KeyRecord> {
        let name = identity_name(key.metadata.uid.as_deref()?);
        KeyRecord::of(&self.identities.get(Some(IDENTITIES_NAMESPACE), &name)?.metadata)
    }
}
