//! Making an SSH key the account's default.

use std::time::Duration;

use keyplane_core::audit::RequestedChange;
use keyplane_core::seniority::Seniority;
use keyplane_crds::SshKey;
use serde_json::json;
use tokio::time::Instant;

use super::caller::SshKeyCaller;
use super::refusal::Refusal;
use super::registered::{is_decided, is_registered, readiness};
use crate::api::problem::cluster_unavailable;
use crate::declared::{ApiFailure, Home};

/// How long the controller is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often is looked at the API server: no watch of this process tells of SSH keys.
const LOOK_EVERY: Duration = Duration::from_millis(60);

/// Makes a key the only one that asks to be the default, and waits until it is.
///
/// First it asks, then the others stop: of those that ask the oldest is the default, so that whenever this ends half way,
/// the default is the new one or the one before, and no third.
///
/// # Errors
/// [`Refusal::NotRegistered`], [`Refusal::Overtaken`], [`Refusal::Absent`] when it is deleted meanwhile, or when the cluster does
/// not do its part.
pub(crate) async fn make_default(caller: &SshKeyCaller<'_>, key: SshKey) -> Result<(), Refusal> {
    if is_decided(&key) && !is_registered(&key) {
        let message = readiness(&key).map(|ready| ready.message.clone()).unwrap_or_default();
        return Err(Refusal::NotRegistered(message));
    }
    let home = caller.home();
    caller.record(RequestedChange::MakeSshKeyDefault, &key.metadata).await?;
    let uid = key.metadata.uid.clone();
    let asked_before: Vec<SshKey> = home.list().await?;
    ask(home, key).await?;
    for other in asked_before.into_iter().filter(|other| asks(other) && other.metadata.uid != uid) {
        ask_no_more(home, other).await?;
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let (own, others): (Vec<SshKey>, Vec<SshKey>) =
            home.list().await?.into_iter().partition(|key: &SshKey| key.metadata.uid == uid);
        let own = own.into_iter().next().ok_or(Refusal::Absent)?;
        if is_default(&own) && !others.iter().any(is_default) {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(cluster_unavailable().into());
        }
        if asks(&own) {
            // Who asked since then and is younger is in nobody's way, and may be another request's under way.
            let place = Seniority::of(&own.metadata);
            let before = |other: &SshKey| asks(other) && Seniority::of(&other.metadata) < place;
            for other in others.into_iter().filter(before) {
                ask_no_more(home, other).await?;
            }
        } else if others.iter().any(asks) {
            return Err(Refusal::Overtaken);
        } else {
            // Two requests took the default from each other.
            ask(home, own).await?;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn asks(key: &SshKey) -> bool {
    key.spec.default == Some(true)
}

fn is_default(key: &SshKey) -> bool {
    key.status.as_ref().is_some_and(|status| status.default)
}

async fn ask(home: &Home, key: SshKey) -> Result<(), Refusal> {
    let asked = home.change(key, |_: &SshKey| Ok::<_, ApiFailure>(json!({"spec": {"default": true}}))).await;
    match asked {
        Ok(_) => Ok(()),
        Err(ApiFailure::NotFound) => Err(Refusal::Absent),
        Err(failure) => Err(failure.into()),
    }
}

/// Not by taking the field away: that would leave no time in `metadata.managedFields`.
async fn ask_no_more(home: &Home, key: SshKey) -> Result<(), Refusal> {
    let asked = home.change(key, |_: &SshKey| Ok::<_, ApiFailure>(json!({"spec": {"default": false}}))).await;
    match asked {
        Ok(_) | Err(ApiFailure::NotFound) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}
