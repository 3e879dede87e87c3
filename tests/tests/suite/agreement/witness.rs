//! Counts an account's live keys at every version of every key.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use keyplane_crds::{ApiKey, ApiKeyState};
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Looks at one account.
pub(super) struct Witness {
    watching: JoinHandle<Result<usize>>,
    stop: oneshot::Sender<()>,
}

impl Witness {
    /// From when the account had no key on.
    pub(super) fn of(client: Client, account: &str) -> Self {
        let (stop, asked) = oneshot::channel();
        let keys: Api<ApiKey> = Api::namespaced(client, account);
        Self { watching: tokio::spawn(watch(keys, asked)), stop }
    }

    /// The most live keys that there ever were at once.
    pub(super) async fn most(self) -> Result<usize> {
        drop(self.stop);
        self.watching.await?
    }
}

async fn watch(keys: Api<ApiKey>, mut asked: oneshot::Receiver<()>) -> Result<usize> {
    let mut events = keys.watch(&WatchParams::default(), "0").await?.boxed();
    let (mut live, mut most) = (BTreeSet::new(), 0);
    loop {
        let event = tokio::select! {
            event = events.try_next() => event?,
            _ = &mut asked => return Ok(most),
        };
        match event {
            Some(WatchEvent::Added(key) | WatchEvent::Modified(key)) if is_live(&key) => {
                live.insert(key.uid());
            }
            Some(WatchEvent::Added(key) | WatchEvent::Modified(key) | WatchEvent::Deleted(key)) => {
                live.remove(&key.uid());
            }
            Some(WatchEvent::Bookmark(_)) => {}
            Some(WatchEvent::Error(error)) => bail!("{error:?}"),
            None => bail!("the watch ended"),
        }
        most = most.max(live.len());
    }
}

fn is_live(key: &ApiKey) -> bool {
    let is_active = key.status.as_ref().is_some_and(|status| status.state == Some(ApiKeyState::Active));
    is_active && key.spec.revoked != Some(true) && key.metadata.deletion_timestamp.is_none()
}
