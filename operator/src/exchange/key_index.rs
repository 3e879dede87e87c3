//! What the exchange knows: keys by digest and the anchors of their identities, fed by watches.

use std::sync::Arc;

use anyhow::bail;
use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Secret;
use keyplane_core::api_key::{ANCHOR_TYPE, Refusal, admit, holder};
use keyplane_core::key_format::KeyDigest;
use keyplane_core::ownership::identity_name;
use keyplane_crds::{ApiKey, IDENTITIES_NAMESPACE};
use kube::runtime::watcher::Config;
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinSet;

use crate::index::{Indexed, api_key_keys, digest_key, watch_into};

/// The keys and anchors of the cluster.
pub(crate) struct KeyIndex {
    keys: Arc<Indexed<ApiKey>>,
    anchors: Arc<Indexed<Secret>>,
}

/// A key that may have a token, and the identity that the token is for.
pub(crate) struct Admitted {
    /// The key.
    pub(crate) key: Arc<ApiKey>,
    /// The name of its ServiceAccount and anchor.
    pub(crate) identity: String,
    /// The UID of its anchor.
    pub(crate) anchor_uid: String,
}

impl KeyIndex {
    /// An index that the given tasks keep fresh.
    pub(crate) fn watching(client: &Client, tasks: &mut JoinSet<()>) -> Self {
        let keys = Arc::new(Indexed::new(api_key_keys));
        let anchors = Arc::new(Indexed::new(|_: &Secret| Vec::new()));
        tasks.spawn(watch_into(Api::all(client.clone()), Config::default(), keys.clone(), |_| true, |_| {}));
        let only_anchors = Config::default().fields(&format!("type={ANCHOR_TYPE}"));
        let in_identities = Api::namespaced(client.clone(), IDENTITIES_NAMESPACE);
        tasks.spawn(watch_into(in_identities, only_anchors, anchors.clone(), |_| true, |_| {}));
        Self { keys, anchors }
    }

    /// Waits until keys and anchors have been listed once.
    ///
    /// # Errors
    /// When a watch ended before.
    pub(crate) async fn synced(&self) -> anyhow::Result<()> {
        if self.keys.store().wait_until_ready().await.is_err()
            || self.anchors.store().wait_until_ready().await.is_err()
        {
            bail!("a watch ended before it had listed its objects");
        }
        Ok(())
    }

    /// The declared key with this digest, live or not: only for the log, never for an answer.
    pub(crate) fn declared(&self, digest: &KeyDigest) -> Option<Arc<ApiKey>> {
        holder(&self.keys.find(&digest_key(&digest.to_string()))).cloned()
    }

    /// Decides about the key with this digest, from memory.
    ///
    /// # Errors
    /// Why no token may be issued.
    pub(crate) fn admit(&self, digest: &KeyDigest, now: DateTime<Utc>) -> Result<Admitted, Refusal> {
        let candidates = self.keys.find(&digest_key(&digest.to_string()));
        let key = admit(&candidates, now)?.clone();
        let identity = identity_name(&key.uid().unwrap_or_default());
        let anchor = self.anchors.get(Some(IDENTITIES_NAMESPACE), &identity).ok_or(Refusal::SettingUp)?;
        if anchor.metadata.deletion_timestamp.is_some() {
            return Err(Refusal::SettingUp);
        }
        Ok(Admitted { key, identity, anchor_uid: anchor.uid().unwrap_or_default() })
    }
}
