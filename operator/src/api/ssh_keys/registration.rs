//! Registering an SSH key: made as a resource, kept when the controller says that it stands, taken away again otherwise.

use std::time::Duration;

use keyplane_core::audit::RequestedChange;
use keyplane_core::object_name::object_name;
use keyplane_core::readiness::Reason;
use keyplane_core::ssh_public_key::{SshPublicKey, SshPublicKeyError};
use keyplane_crds::{SshKey, SshKeySpec};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::caller::SshKeyCaller;
use super::refusal::Refusal;
use super::registered::{Registered, is_decided, is_registered, readiness};
use crate::api::account::failure_problem;
use crate::api::problem::{Problem, cluster_unavailable, failed};
use crate::declared::{ApiFailure, Awaited, Home};

/// The longest name, in characters (seed 002).
const LONGEST_NAME: usize = 255;
/// The name of a resource whose display name has nothing that a name can hold.
const FALLBACK_NAME: &str = "ssh-key";
/// How long the controller is waited for altogether: less than a request may take, by enough to take away what does not stand.
const PATIENCE: Duration = Duration::from_secs(11);
/// How often a key that does not stand is deleted before it is left behind.
const ATTEMPTS: u32 = 3;
/// How long is waited before the second attempt.
const PAUSE: Duration = Duration::from_millis(200);

/// What is asked for. Other fields are not looked at: naming one back could show what was pasted in the wrong place.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CreateSSHKeyDto)]
pub(crate) struct CreateSshKey {
    /// A friendly name for the SSH key (maximum 255 characters).
    #[schema(min_length = 1, max_length = 255, example = "Work Laptop")]
    name: String,
    /// The SSH public key string. Must be a valid SSH public key in OpenSSH format.
    #[schema(
        min_length = 1,
        max_length = 16384,
        example = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICD8Ic1u+IAGRJt0ErK7wUszGoH5abXi0QghI+tRQNz/"
    )]
    public_key: String,
}

/// A key that can be registered as far as can be told from itself.
pub(crate) struct NewSshKey {
    name: String,
    /// Without the comment: that is for whoever has the file, and often an address.
    public_key: String,
}

impl TryFrom<CreateSshKey> for NewSshKey {
    type Error = Refusal;

    fn try_from(asked: CreateSshKey) -> Result<Self, Refusal> {
        // The name is shown to everybody who sees the account.
        if SshPublicKey::parse(&asked.name) == Err(SshPublicKeyError::PrivateKey) {
            return Err(Refusal::PublicKey(SshPublicKeyError::PrivateKey));
        }
        if asked.name.trim().is_empty() {
            return Err(Refusal::Unusable("A name for the SSH key is required.".to_owned()));
        }
        if asked.name.chars().count() > LONGEST_NAME {
            return Err(Refusal::Unusable(format!(
                "The name of the SSH key may have {LONGEST_NAME} characters."
            )));
        }
        let public_key = SshPublicKey::parse(&asked.public_key).map_err(Refusal::PublicKey)?;
        Ok(Self { name: asked.name, public_key: public_key.canonical() })
    }
}

/// Registers a key for a caller who may.
///
/// # Errors
/// [`Refusal::Duplicate`], [`Refusal::LimitReached`], or what keeps it from being known: then nothing is left of it.
pub(crate) async fn register(caller: &SshKeyCaller<'_>, new: NewSshKey) -> Result<Registered, Refusal> {
    let home = caller.home();
    let mut random = [0; 6];
    getrandom::fill(&mut random).map_err(|_| failed())?;
    let name = object_name(&new.name, FALLBACK_NAME, random);
    let spec = SshKeySpec {
        display_name: Some(new.name),
        public_key: new.public_key,
        // Says the same as nothing; `verdict` takes it away.
        default: Some(false),
    };
    let key = SshKey::new(&name, spec);
    caller.record(RequestedChange::CreateSshKey, &key.metadata).await?;
    let made = match home.create(key).await {
        Ok(made) => made,
        Err(ApiFailure::NotFound) => return Err(Refusal::NoAccount),
        Err(ApiFailure::Unavailable(error)) => {
            // It may stand all the same: the answer was lost, or came late.
            if let Ok(Some(made)) = home.named::<SshKey>(&name).await {
                withdraw(home, &made).await?;
            }
            return Err(ApiFailure::Unavailable(error).into());
        }
        Err(failure) => return Err(failure.into()),
    };
    let refusal = match verdict(home, &made).await {
        Ok(Awaited::Decided(key)) if is_registered(&key) => {
            return Registered::of(&key).ok_or_else(|| failed().into());
        }
        Ok(Awaited::Decided(key)) => refusal(&key),
        Ok(Awaited::Undecided(_)) => cluster_unavailable().into(),
        // Somebody deleted it.
        Err(ApiFailure::NotFound) => failure_problem(ApiFailure::Conflict).into(),
        Err(failure) => failure.into(),
    };
    withdraw(home, &made).await?;
    Err(refusal)
}

/// What the controller says of a key, when it can say nothing else any more because of what was made before.
///
/// When the place among those of one second is certain, it may still not have seen them all. It takes changes in the order in
/// which they were made: when it has answered one of this key that means nothing, it has seen whatever came before.
async fn verdict(home: &Home, made: &SshKey) -> Result<Awaited<SshKey>, ApiFailure> {
    let end = Instant::now() + PATIENCE;
    let standing = match home.verdict_within(PATIENCE, made, is_decided).await? {
        Awaited::Decided(key) if is_registered(&key) => key,
        other => return Ok(other),
    };
    let asked = home.change(standing, |now: &SshKey| {
        Ok::<_, ApiFailure>(match now.spec.default {
            Some(false) => json!({"spec": {"default": null}}),
            // Somebody was faster, with a change of their own.
            Some(true) | None => json!({}),
        })
    });
    let asked = asked.await?;
    home.decided_within(end.saturating_duration_since(Instant::now()), &asked, is_decided).await
}

/// Why a key does not stand.
fn refusal(key: &SshKey) -> Refusal {
    let (reason, message) =
        readiness(key).map(|ready| (ready.reason.as_str(), ready.message.clone())).unwrap_or_default();
    if reason == Reason::DuplicatePublicKey.as_str() {
        Refusal::Duplicate
    } else if reason == Reason::LimitReached.as_str() {
        Refusal::LimitReached(message)
    } else if reason == Reason::InvalidPublicKey.as_str() {
        Refusal::Unusable(message)
    } else {
        Refusal::NoAccount
    }
}

/// Takes a key away that does not stand: left behind, it would come to stand when another goes.
async fn withdraw(home: &Home, key: &SshKey) -> Result<(), Problem> {
    let mut pause = PAUSE;
    let mut attempt = 1;
    loop {
        match home.delete(key).await {
            Ok(()) => return Ok(()),
            Err(failure) if attempt == ATTEMPTS => {
                tracing::warn!(%failure, "an SSH key that was refused stays behind");
                return Err(failure_problem(failure));
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        attempt += 1;
        pause *= 2;
    }
}
