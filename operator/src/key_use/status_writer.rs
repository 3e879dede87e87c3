//! Writes the API's fields of a key's status: compare-and-swap on the key's version, so that nothing that another
//! replica or the controller wrote is lost.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper_util::client::legacy;
use keyplane_core::api_key::usage::Settled;
use keyplane_crds::ApiKey;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use thiserror::Error;

use super::owned::{Attempt, Change};
use super::pace::Pace;
use crate::runtime::cause;

/// The name under which the API server records who wrote which field.
const FIELD_MANAGER: &str = "keyplane-api";
/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How often a write is tried anew at once because somebody else's came first. Each time somebody made progress.
const ATTEMPTS: u32 = 16;
/// How often within one write an unknown outcome is looked into at once.
const UNKNOWN: u32 = 3;

/// A write's end.
#[derive(Debug)]
pub(super) enum Written {
    /// The change stands in the status; the key as it is with it, or as it was found with the change in it already.
    Done(Arc<ApiKey>),
    /// The key is gone, and with it whatever could be said of it.
    Gone,
}

/// Why a change is not written. It is to be tried again later, together with what is not settled.
#[derive(Debug, Error)]
pub(super) enum WriteError {
    /// The API server does not answer, or not in time.
    #[error("the API server did not answer: {0}")]
    Unanswered(String),
    /// The API server refuses the write.
    #[error("the API server refuses it: {0}")]
    Refused(String),
    /// Others were faster each time.
    #[error("the status was changed by others {ATTEMPTS} times in a row")]
    Overtaken,
}

/// What a failed write means.
enum Failure {
    /// Somebody else's write came first.
    Conflict,
    Gone,
    /// Nothing was written.
    Certain(WriteError),
    /// It may have been written, or may still be.
    Unknown(String),
}

/// The one way into the statuses of keys.
#[derive(Clone)]
pub(super) struct StatusWriter {
    client: Client,
    /// The versions that its last writes gave to keys, by UID: of those that the watch has not told of since.
    written: Arc<Mutex<HashMap<String, u64>>>,
}

impl StatusWriter {
    pub(super) fn new(client: Client) -> Self {
        Self { client, written: Arc::default() }
    }

    /// Takes note of a key as the watch tells of it.
    pub(super) fn observed(&self, key: &ApiKey) {
        let (Some(uid), Some(version)) = (key.metadata.uid.as_deref(), version_of(key)) else { return };
        let mut written = self.written();
        if written.get(uid).is_some_and(|written| *written <= version) {
            written.remove(uid);
        }
    }

    /// Forgets a key that was deleted.
    pub(super) fn forget(&self, uid: &str) {
        self.written().remove(uid);
    }

    /// Whether this is the key as it was before the last write. Of two equal writes on top of one version (a use each, of
    /// one millisecond) nobody could tell which was accepted, if the answer to one is lost.
    fn is_outdated(&self, key: &ApiKey, uid: &str) -> bool {
        let written = self.written().get(uid).copied();
        written.is_some_and(|written| version_of(key).is_some_and(|version| version < written))
    }

    /// The end of a write that gave the key this version, or an earlier one.
    fn done(&self, uid: String, live: Arc<ApiKey>) -> Written {
        if let Some(version) = version_of(&live) {
            self.written().insert(uid, version);
        }
        Written::Done(live)
    }

    /// A panic elsewhere leaves whole entries behind.
    fn written(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the change on top of `known`, or of what is there when that is not the newest version any more.
    ///
    /// `unsettled` is the write whose outcome was not known at the end of an earlier call with the same change. It
    /// is settled first, and one that is left at the end of this call is put there. With a pace, the caller has had
    /// its turn for the first request that changes something, and waits for another turn before each further one.
    ///
    /// # Errors
    /// When the change is not written, or it is not known whether it is.
    pub(super) async fn write(
        &self,
        known: &Arc<ApiKey>,
        change: &impl Change,
        unsettled: &mut Option<Attempt>,
        pace: Option<&Pace>,
    ) -> Result<Written, WriteError> {
        let (Some(namespace), Some(uid)) = (known.namespace(), known.uid()) else { return Ok(Written::Gone) };
        let keys: Api<ApiKey> = Api::namespaced(self.client.clone(), &namespace);
        let name = known.name_any();
        let mut live = known.clone();
        let mut must_read = unsettled.is_some() || self.is_outdated(known, &uid);
        let mut unknown = 0;
        for turn in 0..ATTEMPTS {
            if must_read {
                match read(&keys, &name, &uid).await? {
                    Some(found) => live = found,
                    None => return Ok(Written::Gone),
                }
            }
            must_read = true;
            let attempt = match unsettled.take() {
                None => None,
                Some(attempt) => match attempt.settle(&live) {
                    Settled::Open => Some(attempt),
                    Settled::Committed => return Ok(self.done(uid, live)),
                    Settled::NotCommitted => None,
                    Settled::Doubtful => {
                        tracing::warn!(
                            key = uid,
                            "an answer was lost while another replica wrote the same key's uses: its count may be short"
                        );
                        return Ok(self.done(uid, live));
                    }
                },
            };
            let was_sent = attempt.is_some();
            let attempt = match attempt {
                Some(attempt) => attempt,
                None => match change.onto(&live) {
                    Some(tried) => Attempt::new(&live, tried),
                    None => return Ok(Written::Done(live)),
                },
            };
            if let Some(pace) = pace.filter(|_| turn > 0) {
                pace.turn().await;
            }
            match send(&keys, &name, &attempt.patch(&uid)).await {
                Ok(stored) => return Ok(self.done(uid, Arc::new(stored))),
                Err(Failure::Gone) => return Ok(Written::Gone),
                Err(failure) => {
                    // What was sent before with an unknown end is not settled by this one's refusal: it may be what
                    // this one met.
                    if was_sent || matches!(failure, Failure::Unknown(_)) {
                        *unsettled = Some(attempt);
                    }
                    match failure {
                        Failure::Certain(error) => return Err(error),
                        Failure::Unknown(cause) => {
                            unknown += 1;
                            if unknown == UNKNOWN {
                                return Err(WriteError::Unanswered(cause));
                            }
                            tracing::debug!(
                                key = uid,
                                cause,
                                "no answer to a status write; looking what became of it"
                            );
                        }
                        Failure::Conflict | Failure::Gone => {}
                    }
                }
            }
        }
        Err(WriteError::Overtaken)
    }
}

/// A key's version as a number: the API server counts up. One that is none is compared with no other.
fn version_of(key: &ApiKey) -> Option<u64> {
    key.metadata.resource_version.as_deref()?.parse().ok()
}

/// The key as it is now; `None` when it is gone, or another one has its name.
async fn read(keys: &Api<ApiKey>, name: &str, uid: &str) -> Result<Option<Arc<ApiKey>>, WriteError> {
    let found = tokio::time::timeout(REQUEST_LIMIT, keys.get_opt(name))
        .await
        .map_err(|_| WriteError::Unanswered(too_late()))?
        .map_err(|error| match &error {
            kube::Error::Api(status) if status.code < 500 => WriteError::Refused(cause(&error)),
            _ => WriteError::Unanswered(cause(&error)),
        })?;
    Ok(found.filter(|key| key.metadata.uid.as_deref() == Some(uid)).map(Arc::new))
}

async fn send(keys: &Api<ApiKey>, name: &str, patch: &serde_json::Value) -> Result<ApiKey, Failure> {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(patch);
    let sending = keys.patch_status(name, &params, &patch);
    match tokio::time::timeout(REQUEST_LIMIT, sending).await {
        Ok(answer) => answer.map_err(|error| failure(&error)),
        Err(_) => Err(Failure::Unknown(too_late())),
    }
}

fn failure(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => match status.code {
            409 => Failure::Conflict,
            404 => Failure::Gone,
            429 => Failure::Certain(WriteError::Unanswered(cause(error))),
            // An API server that gave up, or whose database did, may have written all the same.
            500.. => Failure::Unknown(cause(error)),
            _ => Failure::Certain(WriteError::Refused(cause(error))),
        },
        other if never_left(other) => Failure::Certain(WriteError::Unanswered(cause(other))),
        other => Failure::Unknown(cause(other)),
    }
}

/// Whether there was no connection that the request could have gone over.
fn never_left(error: &kube::Error) -> bool {
    let mut link: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = link {
        if error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect) {
            return true;
        }
        link = error.source();
    }
    false
}

fn too_late() -> String {
    format!("no answer within {} s", REQUEST_LIMIT.as_secs())
}
