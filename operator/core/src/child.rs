//! The objects Keyplane makes for its resources, as data.

use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::drift::{holds, same_quantities};

/// The kinds of object that Keyplane makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildKind {
    /// A core Namespace.
    Namespace,
    /// A ServiceAccount in `keyplane-identities`.
    ServiceAccount,
    /// An anchor Secret in `keyplane-identities`.
    Secret,
    /// A RoleBinding.
    RoleBinding,
    /// A ResourceQuota.
    ResourceQuota,
    /// A LimitRange.
    LimitRange,
    /// A NetworkPolicy.
    NetworkPolicy,
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildRef {
    /// Its kind.
    pub kind: ChildKind,
    /// Its namespace; none for a core Namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for ChildRef {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(formatter, "{:?} {namespace}/{}", self.kind, self.name),
            None => write!(formatter, "{:?} {}", self.kind, self.name),
        }
    }
}

/// An object that Keyplane makes.
#[derive(Clone, Debug, PartialEq)]
pub enum Child {
    /// A core Namespace.
    Namespace(Namespace),
    /// A ServiceAccount.
    ServiceAccount(ServiceAccount),
    /// An anchor Secret.
    Secret(Secret),
    /// A RoleBinding.
    RoleBinding(RoleBinding),
    /// A ResourceQuota.
    ResourceQuota(ResourceQuota),
    /// A LimitRange.
    LimitRange(LimitRange),
    /// A NetworkPolicy.
    NetworkPolicy(NetworkPolicy),
}

macro_rules! children {
    ($($variant:ident),+) => {
        impl Child {
            /// Its kind.
            #[must_use]
            pub fn kind(&self) -> ChildKind {
                match self { $(Self::$variant(_) => ChildKind::$variant),+ }
            }

            /// Its metadata.
            #[must_use]
            pub fn metadata(&self) -> &ObjectMeta {
                match self { $(Self::$variant(object) => &object.metadata),+ }
            }

            /// The object as the API server takes it.
            #[must_use]
            pub fn to_value(&self) -> Value {
                match self { $(Self::$variant(object) => json!(object)),+ }
            }
        }

        $(impl From<$variant> for Child {
            fn from(object: $variant) -> Self {
                Self::$variant(object)
            }
        })+
    };
}

children!(Namespace, ServiceAccount, Secret, RoleBinding, ResourceQuota, LimitRange, NetworkPolicy);

impl Child {
    /// Where it is.
    #[must_use]
    pub fn reference(&self) -> ChildRef {
        let metadata = self.metadata();
        ChildRef {
            kind: self.kind(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }

    /// Its UID; empty for an object that is only wanted.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    /// Whether it is being deleted.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.metadata().deletion_timestamp.is_some()
    }

    /// Whether this stored object says everything that `desired` says.
    #[must_use]
    pub fn matches(&self, desired: &Self) -> bool {
        match (self, desired) {
            (Self::ResourceQuota(observed), Self::ResourceQuota(desired)) => {
                let hard = |quota: &ResourceQuota| quota.spec.clone().and_then(|spec| spec.hard).unwrap_or_default();
                let (observed_hard, desired_hard) = (hard(observed), hard(desired));
                holds(&json!(observed.metadata), &json!(desired.metadata))
                    && same_quantities(amounts(&observed_hard), amounts(&desired_hard))
            }
            (Self::LimitRange(observed), Self::LimitRange(desired)) => {
                holds(&json!(observed.metadata), &json!(desired.metadata)) && same_limits(observed, desired)
            }
            _ => holds(&self.to_value(), &desired.to_value()),
        }
    }

    /// Whether the stored object can become `desired` only by being deleted and made anew.
    #[must_use]
    pub fn must_be_replaced_for(&self, desired: &Self) -> bool {
        match (self, desired) {
            (Self::RoleBinding(observed), Self::RoleBinding(desired)) => observed.role_ref != desired.role_ref,
            (Self::Secret(observed), Self::Secret(desired)) => {
                // A Secret's type is fixed, and an anchor that holds data is immutable with it.
                observed.type_ != desired.type_ || observed.data.as_ref().is_some_and(|data| !data.is_empty())
            }
            _ => false,
        }
    }
}

fn amounts(map: &std::collections::BTreeMap<String, Quantity>) -> impl Iterator<Item = (&String, &str)> {
    map.iter().map(|(name, quantity)| (name, quantity.0.as_str()))
}

/// Compares what Keyplane writes in a LimitRange: one entry for containers. The API server fills in
/// `defaultRequest` from `default`, and both from `max`, so more than was wanted is no drift there.
fn same_limits(observed: &LimitRange, desired: &LimitRange) -> bool {
    let entries = |range: &LimitRange| range.spec.clone().map(|spec| spec.limits).unwrap_or_default();
    let (observed, desired) = (entries(observed), entries(desired));
    observed.len() == desired.len()
        && observed.iter().zip(&desired).all(|(observed, desired)| {
            observed.type_ == desired.type_
                && has_quantities(observed.default.as_ref(), desired.default.as_ref())
                && has_quantities(observed.default_request.as_ref(), desired.default_request.as_ref())
                && has_quantities(observed.max.as_ref(), desired.max.as_ref())
        })
}

type Amounts = std::collections::BTreeMap<String, Quantity>;

fn has_quantities(observed: Option<&Amounts>, desired: Option<&Amounts>) -> bool {
    desired.into_iter().flatten().all(|(name, wanted)| {
        observed.and_then(|map| map.get(name)).is_some_and(|found| crate::quantity::same_amount(&found.0, &wanted.0))
    })
}
