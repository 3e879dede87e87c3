//! A use of a key: decided from memory; what is refused is taken down, and denials count towards a lock.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use keyplane_core::api_key::{Admitted, Refusal, RequiredScope, Standing, is_allowed_from, standing};
use keyplane_core::audit::{RefusalReason, Subject};
use keyplane_core::client_address::ClientAddress;
use keyplane_core::key_format::{KeyDigest, PlaintextKey};
use keyplane_core::readiness::ResourceKind;
use keyplane_crds::ApiKey;

use crate::audit::{self, RefusalLog};
use crate::exchange::{FailedAuthentications, KeyIndex, Named};
use crate::key_use::KeyUse;
use crate::metrics::KeyDecisions;

/// Decides about uses of keys, for every surface that takes one.
pub(crate) struct KeyCheck {
    /// The keys.
    pub(crate) index: KeyIndex,
    /// Counts uses, locks keys.
    pub(crate) key_use: Arc<KeyUse>,
    /// Takes down what was refused.
    pub(crate) refusals: RefusalLog,
    /// Counts what is no key at all.
    pub(crate) failures: FailedAuthentications,
    /// Counts decisions.
    pub(crate) decisions: KeyDecisions,
}

/// Why a key is refused, as far as whoever presents it is told. Each surface has its own words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyRefused {
    /// Missing, unknown, or no key: which, is not told. A version that another replaced is as unknown.
    Invalid,
    /// It was revoked. Only whoever presents the whole key is told.
    Revoked,
    /// Its time is over. Only whoever presents the whole key is told.
    Expired,
    /// It is locked.
    Locked,
    /// It may not be used from where it was.
    AddressNotAllowed,
    /// Its declaration cannot be met; its owner must mend that.
    NotReady {
        /// The reason of the condition `Ready`.
        reason: String,
        /// The message of the condition `Ready`.
        message: String,
    },
    /// Its access is being set up; it will be there shortly.
    SettingUp,
    /// Its scope does not include this.
    InsufficientScope(RequiredScope),
    /// It is none, and so many came from the same address that they are not answered one by one any more.
    TooManyFailures(Duration),
}

/// A refusal with what the log needs to know of it.
enum Rejected {
    /// No key was presented, or nothing that is one.
    Malformed,
    /// Nobody declared it.
    Unknown,
    /// Somebody declared it. Without a refusal, this process has just locked it.
    Declared {
        refusal: Option<Refusal>,
        key: Arc<ApiKey>,
        /// Whether it is the version that the ApiKey names.
        is_current: bool,
    },
    /// It may be used, and not for this.
    Scope(RequiredScope, Arc<ApiKey>, u32),
}

impl KeyCheck {
    /// Decides about a use of the presented key, for which its scope must include all that is required. Whoever goes on
    /// to serve the use counts it with [`KeyUse::used`].
    ///
    /// # Errors
    /// Why it is refused; that is taken down by then.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        key: Option<&PlaintextKey>,
        client: Option<ClientAddress>,
        required: &[RequiredScope],
    ) -> Result<Admitted, KeyRefused> {
        let now = Utc::now();
        let rejected = match key {
            None => Rejected::Malformed,
            Some(key) => match self.decide(&key.digest(), client, required, now) {
                Ok(admitted) => return Ok(admitted),
                Err(rejected) => rejected,
            },
        };
        self.reject(rejected, client, now).await
    }

    /// [`KeyCheck::admit`] for a key that asks who it is, of whatever scope: one whose access is still being set up is told as
    /// well, once it is on record.
    ///
    /// # Errors
    /// As [`KeyCheck::admit`].
    pub(crate) async fn recognize(
        self: &Arc<Self>,
        key: Option<&PlaintextKey>,
        client: Option<ClientAddress>,
    ) -> Result<Admitted, KeyRefused> {
        let now = Utc::now();
        let rejected = match key {
            None => Rejected::Malformed,
            Some(key) => {
                let digest = key.digest();
                let named = self.index.named(&digest);
                let recognized = named.recognize(client.map(|client| client.ip), now);
                match self.judge(&digest, &named, recognized, now) {
                    Ok(admitted) => return Ok(admitted),
                    Err(rejected) => rejected,
                }
            }
        };
        self.reject(rejected, client, now).await
    }

    /// [`KeyCheck::admit`] for a key that was admitted a moment ago, in which it may have ended.
    ///
    /// # Errors
    /// As [`KeyCheck::admit`].
    pub(crate) async fn admit_still(
        self: &Arc<Self>,
        digest: &KeyDigest,
        client: Option<ClientAddress>,
    ) -> Result<Admitted, KeyRefused> {
        let now = Utc::now();
        match self.decide(digest, client, &[], now) {
            Ok(admitted) => Ok(admitted),
            Err(rejected) => self.reject(rejected, client, now).await,
        }
    }

    /// Counts a use that was served.
    pub(crate) fn used(&self, admitted: &Admitted, client: Option<ClientAddress>) {
        self.decisions.admitted();
        self.key_use.used(&admitted.key, admitted.version, client.map(|client| client.ip), Utc::now());
    }

    /// Takes down that a request with an admitted key is refused for another reason.
    pub(crate) async fn refuse(
        &self,
        reason: RefusalReason,
        admitted: &Admitted,
        client: Option<ClientAddress>,
    ) {
        self.take_down(reason, Some((&admitted.key, Some(admitted.version))), client, None).await;
    }

    /// From memory, without waiting for anything.
    fn decide(
        &self,
        digest: &KeyDigest,
        client: Option<ClientAddress>,
        required: &[RequiredScope],
        now: DateTime<Utc>,
    ) -> Result<Admitted, Rejected> {
        let named = self.index.named(digest);
        let admitted = self.judge(digest, &named, named.admit(client.map(|client| client.ip), now), now)?;
        match required.iter().find(|required| !required.is_included_in(&admitted.key.spec.scope)) {
            None => Ok(admitted),
            Some(missing) => Err(Rejected::Scope(*missing, admitted.key, admitted.version)),
        }
    }

    /// What comes of the rules' word about a key.
    fn judge(
        &self,
        digest: &KeyDigest,
        named: &Named,
        decided: Result<Admitted, Refusal>,
        now: DateTime<Utc>,
    ) -> Result<Admitted, Rejected> {
        match decided {
            // Locked here a moment ago; the watch has not told yet.
            Ok(admitted) if self.key_use.is_locked(&admitted.key, now) => {
                Err(Rejected::Declared { refusal: None, key: admitted.key, is_current: true })
            }
            Ok(admitted) => Ok(admitted),
            Err(refusal) => Err(match named.holder().cloned().or_else(|| self.index.ended(digest, now)) {
                Some(key) => {
                    let is_current = names(&key, digest);
                    Rejected::Declared { refusal: Some(refusal), key, is_current }
                }
                None => Rejected::Unknown,
            }),
        }
    }

    async fn reject<T>(
        self: &Arc<Self>,
        rejected: Rejected,
        client: Option<ClientAddress>,
        now: DateTime<Utc>,
    ) -> Result<T, KeyRefused> {
        let check = self.clone();
        // A task of its own: a client that goes away at once keeps neither its denial from being written down nor a line
        // out of the audit log.
        let refusing = tokio::spawn(async move { check.refused(rejected, client, now).await });
        Err(refusing.await.unwrap_or(KeyRefused::SettingUp))
    }

    async fn refused(
        &self,
        rejected: Rejected,
        client: Option<ClientAddress>,
        now: DateTime<Utc>,
    ) -> KeyRefused {
        match rejected {
            Rejected::Malformed => self.refused_unknown(RefusalReason::Malformed, client).await,
            Rejected::Unknown => self.refused_unknown(RefusalReason::Unknown, client).await,
            Rejected::Scope(required, key, version) => {
                let about = Some((&key, Some(version)));
                self.take_down(RefusalReason::InsufficientScope, about, client, None).await;
                KeyRefused::InsufficientScope(required)
            }
            Rejected::Declared { refusal, key, is_current } => {
                self.refused_declared(refusal, &key, is_current, client, now).await
            }
        }
    }

    async fn refused_unknown(&self, reason: RefusalReason, client: Option<ClientAddress>) -> KeyRefused {
        self.take_down(reason, None, client, None).await;
        let address = client.map(|client| client.ip);
        if let Some(pause) = self.failures.is_exhausted(address) {
            return KeyRefused::TooManyFailures(pause);
        }
        self.failures.failed(address);
        KeyRefused::Invalid
    }

    async fn refused_declared(
        &self,
        refusal: Option<Refusal>,
        key: &Arc<ApiKey>,
        is_current: bool,
        client: Option<ClientAddress>,
        now: DateTime<Utc>,
    ) -> KeyRefused {
        let reason = reason(refusal.as_ref(), key, now);
        let mut message = None;
        let mut told = match refusal {
            None | Some(Refusal::Locked(_)) => KeyRefused::Locked,
            Some(Refusal::Unknown) => match reason {
                RefusalReason::Revoked if is_current => KeyRefused::Revoked,
                RefusalReason::Expired | RefusalReason::ExpiredAtCreation if is_current => {
                    KeyRefused::Expired
                }
                _ => KeyRefused::Invalid,
            },
            Some(Refusal::AddressNotAllowed) => KeyRefused::AddressNotAllowed,
            Some(Refusal::SettingUp) => KeyRefused::SettingUp,
            Some(Refusal::NotReady { reason, message: why }) => {
                message = Some(format!("{reason}: {why}"));
                KeyRefused::NotReady { reason, message: why }
            }
        };
        if matches!(told, KeyRefused::AddressNotAllowed | KeyRefused::Locked) {
            let address = client.map(|client| client.ip);
            // Written down before it is answered: the third such use is the last that is looked at.
            if !is_allowed_from(key, address) && self.key_use.denied(key, address, now).await.locked.is_some()
            {
                told = KeyRefused::Locked;
            }
        }
        self.take_down(reason, Some((key, None)), client, message).await;
        told
    }

    async fn take_down(
        &self,
        reason: RefusalReason,
        about: Option<(&Arc<ApiKey>, Option<u32>)>,
        client: Option<ClientAddress>,
        message: Option<String>,
    ) {
        self.decisions.refused(reason);
        let refusal = audit::Refusal {
            reason,
            subject: about.map(|(key, _)| Subject::new(ResourceKind::ApiKey, &key.metadata)),
            client,
            message,
            version: about.and_then(|(_, version)| version),
            actor: None,
        };
        if let Err(error) = self.refusals.refused(refusal).await {
            // A refusal gives nothing away, so it is answered nevertheless; it is counted, and told later.
            tracing::warn!(%error, "the audit log cannot be written");
        }
    }
}

/// Whether an ApiKey names this digest as its own: declared, or said of the key that Keyplane made. A replaced version is not
/// told how the key ended: whether it is still on record is a matter of moments.
fn names(key: &ApiKey, digest: &KeyDigest) -> bool {
    let said = || key.status.as_ref().and_then(|status| status.digest.as_deref());
    let made_here = key.spec.delivery.is_some();
    let own = key.spec.digest.as_deref().or_else(|| said().filter(|_| made_here));
    own == Some(digest.to_string().as_str())
}

/// What the log calls a refusal.
fn reason(refusal: Option<&Refusal>, key: &ApiKey, now: DateTime<Utc>) -> RefusalReason {
    match refusal {
        None | Some(Refusal::Locked(_)) => RefusalReason::Locked,
        Some(Refusal::AddressNotAllowed) => RefusalReason::AddressDenied,
        Some(Refusal::NotReady { .. }) => RefusalReason::NotReady,
        Some(Refusal::SettingUp) => RefusalReason::SettingUp,
        Some(Refusal::Unknown) => match standing(key, now) {
            Standing::Revoked => RefusalReason::Revoked,
            Standing::Expired => RefusalReason::Expired,
            Standing::ExpiredAtCreation => RefusalReason::ExpiredAtCreation,
            Standing::Deleting => RefusalReason::Deleting,
            Standing::Live => RefusalReason::RotatedOut,
        },
    }
}
