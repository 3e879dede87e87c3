//! The condition `Ready`: its fixed list of reasons and how it changes.

use chrono::{DateTime, Utc};
use keyplane_crds::{
    AccountStatus, ApiKeyStatus, Condition, ConditionStatus, NamespaceStatus, READY, SshKeyStatus,
};

/// Why a resource is Ready or not: one word, the same for people, metrics and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Everything declared exists (Account, Namespace).
    Provisioned,
    /// The key can be used (`ApiKey`).
    Active,
    /// The key is registered (`SshKey`).
    Registered,
    /// What is declared is being made.
    Provisioning,
    /// A core Namespace of that name exists and is not this resource's.
    NameTaken,
    /// The core Namespace's name would be longer than Kubernetes allows.
    NameTooLong,
    /// The object does not stand in the home namespace of a live Account.
    AccountNotFound,
    /// A named namespace is not one of the account's.
    NamespaceNotOwned,
    /// A named namespace of the account is not provisioned yet.
    NamespaceNotReady,
    /// An older key has the same digest.
    DuplicateDigest,
    /// The scope names nothing, or more than one thing.
    InvalidScope,
    /// The digest is not `sha256:` and 64 hexadecimal digits.
    InvalidDigest,
    /// The expiry lies before the key's creation.
    ExpiredAtCreation,
    /// The key's time is over.
    Expired,
    /// The key was revoked.
    Revoked,
    /// The digest was revoked before, here or in another object.
    DigestRevoked,
    /// The key was used from addresses outside its list.
    Locked,
    /// A new version of the key is being made and delivered.
    Issuing,
    /// The Secret to deliver to exists and is not this key's.
    DeliveryConflict,
    /// The `SshKey` to seal to is not there, or is not registered.
    RecipientNotReady,
    /// Nothing can be sealed to an SSH key of this type.
    RecipientUnsupported,
    /// An entry of the address list is neither an address nor a CIDR.
    InvalidAllowedCidrs,
    /// The text is not an SSH public key that Keyplane registers.
    InvalidPublicKey,
    /// An older `SshKey` holds the same public key.
    DuplicatePublicKey,
    /// The account has as many as it may have.
    LimitReached,
    /// A derived object of that name exists and belongs to something else.
    ChildConflict,
    /// The API server refused a derived object.
    ApplyFailed,
}

/// One list for both, so that a reason which is missing in it does not compile.
macro_rules! reasons {
    ($($reason:ident),+ $(,)?) => {
        impl Reason {
            /// Every reason, as they are declared above.
            pub const ALL: [Self; [$(stringify!($reason)),+].len()] = [$(Self::$reason),+];

            /// The reason as it stands in the condition.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$reason => stringify!($reason)),+ }
            }
        }
    };
}

reasons!(
    Provisioned,
    Active,
    Registered,
    Provisioning,
    NameTaken,
    NameTooLong,
    AccountNotFound,
    NamespaceNotOwned,
    NamespaceNotReady,
    DuplicateDigest,
    InvalidScope,
    InvalidDigest,
    ExpiredAtCreation,
    Expired,
    Revoked,
    DigestRevoked,
    Locked,
    Issuing,
    DeliveryConflict,
    RecipientNotReady,
    RecipientUnsupported,
    InvalidAllowedCidrs,
    InvalidPublicKey,
    DuplicatePublicKey,
    LimitReached,
    ChildConflict,
    ApplyFailed,
);

/// A verdict about an object: ready or not, the reason, and what a person should know or do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the object does what it declares.
    pub ready: bool,
    /// Why.
    pub reason: Reason,
    /// Why, in words, with the remedy.
    pub message: String,
}

impl Readiness {
    /// The object does what it declares.
    pub fn ready(reason: Reason, message: impl Into<String>) -> Self {
        Self { ready: true, reason, message: message.into() }
    }

    /// The object does not do what it declares.
    pub fn not_ready(reason: Reason, message: impl Into<String>) -> Self {
        Self { ready: false, reason, message: message.into() }
    }

    /// The `Ready` condition that says this, keeping the old condition's time when its status is the same.
    #[must_use]
    pub fn condition(
        &self,
        previous: &[Condition],
        generation: Option<i64>,
        now: DateTime<Utc>,
    ) -> Condition {
        let status = if self.ready { ConditionStatus::True } else { ConditionStatus::False };
        let since = previous
            .iter()
            .find(|condition| condition.type_ == READY && condition.status == status)
            .map_or_else(|| whole_seconds(now), |condition| condition.last_transition_time);
        Condition {
            type_: READY.to_owned(),
            status,
            reason: self.reason.as_str().to_owned(),
            message: self.message.clone(),
            last_transition_time: since,
            observed_generation: generation,
        }
    }
}

/// Kubernetes stores times in whole seconds; a fraction would make a status look changed after every read.
fn whole_seconds(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(time)
}

/// A status that carries the condition `Ready`.
pub trait Status: Clone + PartialEq + Default {
    /// The conditions.
    fn conditions(&self) -> &[Condition];
    /// Replaces the conditions and the generation they answer.
    fn set_conditions(&mut self, conditions: Vec<Condition>, generation: Option<i64>);

    /// This status saying `readiness`.
    #[must_use]
    fn saying(
        mut self,
        readiness: &Readiness,
        previous: &[Condition],
        generation: Option<i64>,
        now: DateTime<Utc>,
    ) -> Self {
        self.set_conditions(vec![readiness.condition(previous, generation, now)], generation);
        self
    }

    /// Whether the status says `Ready=True` about this generation.
    fn is_ready_at(&self, generation: Option<i64>) -> bool {
        self.conditions().iter().any(|condition| {
            condition.type_ == READY
                && condition.status == ConditionStatus::True
                && condition.observed_generation == generation
        })
    }
}

macro_rules! impl_status {
    ($($status:ty),+) => {$(
        impl Status for $status {
            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }

            fn set_conditions(&mut self, conditions: Vec<Condition>, generation: Option<i64>) {
                self.conditions = conditions;
                self.observed_generation = generation;
            }
        }
    )+};
}

impl_status!(AccountStatus, NamespaceStatus, ApiKeyStatus, SshKeyStatus);
