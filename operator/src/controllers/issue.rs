//! Makes a key and hands it over, so that at any moment a crash loses nothing that its owner has.
//!
//! The steps: record the new version as pending; hand it over; let it take the place of the one before, by one write of
//! the record. A pending version verifies nothing. Whoever finds one looks whether it was handed over: if so, it takes
//! its place; if not, its plaintext is lost, nobody has it, and another is made.

use chrono::{SubsecRound, Utc};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use keyplane_core::api_key::{Issue, KeyRecord, Recipient, VERSIONS_ANNOTATION, Version};
use keyplane_core::key_format::{KeyType, PlaintextKey};
use keyplane_core::ownership::{DIGEST_ANNOTATION, OWNER_UID_LABEL, identity_name, owner_uid_label};
use keyplane_core::readiness::Reason;
use keyplane_crds::{ApiKey, IDENTITIES_NAMESPACE};
use kube::api::{Patch, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use zeroize::Zeroizing;

use super::delivery::secret_of;
use super::error::ReconcileError;
use super::execute::{FIELD_MANAGER, as_manager, within_limit};
use super::seal::seal;
use crate::issued_kubeconfig::KubeconfigSettings;

/// Carries out what the plan says is to be issued.
///
/// # Errors
/// `Stale` when the record is not the plan's any more, `Undeliverable` when the key cannot be handed over as declared.
pub(super) async fn issue(
    client: &Client,
    settings: &KubeconfigSettings,
    issue: &Issue,
) -> Result<Version, ReconcileError> {
    let place = Place::of(client, issue);
    let mut record = place.record().await?;
    if record.0 != issue.record {
        return Err(ReconcileError::Stale(format!("{}: its record is newer", place.reference)));
    }
    // Looked at before a key is made: what cannot be delivered is not made.
    let found = place.delivered().await?;
    let is_handed_over = issue.record.pending.as_ref().is_some_and(|pending| found.holds(&pending.digest));
    if !is_handed_over {
        let now = Utc::now().trunc_subsecs(3);
        let key = generate()?;
        let version = issue.version(&key.digest(), &key.prefix(), now);
        // Made up before anything is written: what cannot be, would else be tried for ever, with a write each time.
        let parcel = Parcel::of(issue, settings, &key)?;
        record = place.write(&record, issue.record.with_pending(version)).await?;
        place.hand_over(parcel, &found).await?;
    }
    let now = Utc::now().trunc_subsecs(3);
    let promoted = record.0.promoted(issue.grace_seconds, now);
    let version = promoted.live.clone();
    place.write(&record, promoted).await?;
    version.ok_or_else(|| ReconcileError::Stale(format!("{}: no version was pending", place.reference)))
}

fn generate() -> Result<PlaintextKey, ReconcileError> {
    PlaintextKey::generate(&KeyType::account(), getrandom::fill).map_err(|error| {
        ReconcileError::Unreachable(format!("the operating system gives no randomness: {error}"))
    })
}

/// A key as it is handed over.
enum Parcel {
    /// In the Secret of this name.
    Secret(String, Box<Secret>),
    /// Sealed.
    Sealed { armour: String, digest: String },
}

impl Parcel {
    fn of(issue: &Issue, settings: &KubeconfigSettings, key: &PlaintextKey) -> Result<Self, ReconcileError> {
        match &issue.recipient {
            Recipient::Secret(name) => {
                Ok(Self::Secret(name.clone(), Box::new(secret_of(issue, name, settings, key)?)))
            }
            Recipient::SshPublicKey(line) => {
                Ok(Self::Sealed { armour: seal(key, line)?, digest: key.digest().to_string() })
            }
            Recipient::Gone(name) => Err(ReconcileError::Undeliverable {
                reason: Reason::RecipientNotReady,
                message: format!(
                    "SshKey {name}, which delivery.sealedTo names, is not registered, or is of a type that age does not seal \
                     to: register one of type ssh-ed25519 or ssh-rsa under this name"
                ),
            }),
        }
    }
}

/// What is where the key is to be handed over.
enum Found {
    /// The Secret, with its UID and version, and the digest of the key in it.
    Secret(Option<StoredSecret>),
    /// The ApiKey, and the digest of the key that is sealed in its status.
    Sealed { resource_version: Option<String>, digest: Option<String> },
}

struct StoredSecret {
    uid: Option<String>,
    resource_version: Option<String>,
    digest: Option<String>,
}

impl Found {
    fn holds(&self, digest: &str) -> bool {
        let found = match self {
            Self::Secret(stored) => stored.as_ref().and_then(|stored| stored.digest.as_deref()),
            Self::Sealed { digest, .. } => digest.as_deref(),
        };
        found == Some(digest)
    }
}

/// A record, and the version of the ServiceAccount that carries it.
struct Stored(KeyRecord, Option<String>);

/// The objects that an issue is about.
struct Place<'a> {
    issue: &'a Issue,
    identities: Api<ServiceAccount>,
    identity: String,
    secrets: Api<Secret>,
    keys: Api<ApiKey>,
    reference: String,
}

impl<'a> Place<'a> {
    fn of(client: &Client, issue: &'a Issue) -> Self {
        Self {
            issue,
            identities: Api::namespaced(client.clone(), IDENTITIES_NAMESPACE),
            identity: identity_name(&issue.owner.uid),
            secrets: Api::namespaced(client.clone(), &issue.home),
            keys: Api::namespaced(client.clone(), &issue.home),
            reference: format!("ApiKey {}/{}", issue.home, issue.name),
        }
    }

    async fn record(&self) -> Result<Stored, ReconcileError> {
        let found = within_limit(&self.reference, self.identities.get_opt(&self.identity)).await?;
        let found = found.filter(|found| found.uid().as_deref() == Some(self.issue.identity_uid.as_str()));
        let record = found.as_ref().and_then(|found| KeyRecord::of(&found.metadata));
        match (found, record) {
            (Some(found), Some(record)) => Ok(Stored(record, found.resource_version())),
            _ => Err(ReconcileError::Stale(format!(
                "{}: its record is not the one that was seen",
                self.reference
            ))),
        }
    }

    /// Writes the record, if nobody else has meanwhile.
    async fn write(&self, before: &Stored, record: KeyRecord) -> Result<Stored, ReconcileError> {
        let patch = json!({"metadata": {
            "uid": self.issue.identity_uid,
            "resourceVersion": before.1,
            "annotations": {VERSIONS_ANNOTATION: record.to_annotation()},
        }});
        let (params, patch) = (as_manager(), Patch::Merge(patch));
        let request = self.identities.patch(&self.identity, &params, &patch);
        let written = within_limit(&self.reference, request).await?;
        Ok(Stored(record, written.resource_version()))
    }

    async fn delivered(&self) -> Result<Found, ReconcileError> {
        match &self.issue.recipient {
            Recipient::Secret(name) => {
                let found = within_limit(&self.reference, self.secrets.get_opt(name)).await?;
                if found.as_ref().is_some_and(|found| !self.is_own(found)) {
                    return Err(conflict(name));
                }
                Ok(Found::Secret(found.map(|found| StoredSecret {
                    uid: found.uid(),
                    resource_version: found.resource_version(),
                    digest: found.annotations().get(DIGEST_ANNOTATION).cloned(),
                })))
            }
            Recipient::SshPublicKey(_) | Recipient::Gone(_) => {
                let key = within_limit(&self.reference, self.keys.get_opt(&self.issue.name)).await?;
                let key = key.filter(|key| key.uid().as_deref() == Some(self.issue.owner.uid.as_str()));
                let key = key.ok_or_else(|| ReconcileError::Stale(format!("{} is gone", self.reference)))?;
                let status = key.status.as_ref();
                let digest = status
                    .filter(|status| status.sealed_key.is_some())
                    .and_then(|status| status.digest.clone());
                Ok(Found::Sealed { resource_version: key.resource_version(), digest })
            }
        }
    }

    /// Whether a Secret was made for this key: another's is never touched.
    fn is_own(&self, secret: &Secret) -> bool {
        let uid = self.issue.owner.uid.as_str();
        owner_uid_label(&secret.metadata) == Some(uid)
            && secret.owner_references().iter().any(|reference| reference.uid == uid)
    }

    async fn hand_over(&self, parcel: Parcel, found: &Found) -> Result<(), ReconcileError> {
        match (parcel, found) {
            (Parcel::Secret(name, secret), Found::Secret(stored)) => {
                self.write_secret(&name, stored.as_ref(), *secret).await
            }
            (Parcel::Sealed { armour, digest }, Found::Sealed { resource_version, .. }) => {
                let patch = json!({
                    "metadata": {"uid": self.issue.owner.uid, "resourceVersion": resource_version},
                    "status": {"sealedKey": armour, "digest": digest},
                });
                let (params, patch) = (as_manager(), Patch::Merge(patch));
                let request = self.keys.patch_status(&self.issue.name, &params, &patch);
                within_limit(&self.reference, request).await.map(drop)
            }
            _ => Err(ReconcileError::Stale(format!("{}: it is delivered elsewhere now", self.reference))),
        }
    }

    async fn write_secret(
        &self,
        name: &str,
        stored: Option<&StoredSecret>,
        mut secret: Secret,
    ) -> Result<(), ReconcileError> {
        let Some(stored) = stored else {
            let params =
                PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            let created = within_limit(&self.reference, self.secrets.create(&params, &secret)).await;
            wipe(&mut secret);
            // Somebody made one since it was looked for.
            return match created {
                Err(ReconcileError::Stale(_)) => Err(conflict(name)),
                other => other.map(wiped),
            };
        };
        secret.metadata.uid.clone_from(&stored.uid);
        secret.metadata.resource_version.clone_from(&stored.resource_version);
        let patch = Patch::Merge(&secret);
        let written = within_limit(&self.reference, self.secrets.patch(name, &as_manager(), &patch)).await;
        wipe(&mut secret);
        written.map(wiped)
    }
}

/// Forgets a Secret's content.
fn wiped(mut secret: Secret) {
    wipe(&mut secret);
}

fn wipe(secret: &mut Secret) {
    for (_, value) in secret.data.take().into_iter().flatten() {
        drop(Zeroizing::new(value.0));
    }
}

fn conflict(name: &str) -> ReconcileError {
    ReconcileError::Undeliverable {
        reason: Reason::DeliveryConflict,
        message: format!(
            "Secret {name} exists and was not made for this ApiKey (its label {OWNER_UID_LABEL} and its owner reference do \
             not both name this key's UID); Keyplane never overwrites it: delete it, or create an ApiKey with another \
             delivery.secretName"
        ),
    }
}
