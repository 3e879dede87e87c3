//! The objects Keyplane makes for its resources, as data.

use k8s_openapi::api::core::v1::{
    LimitRange, LimitRangeItem, Namespace, ResourceQuota, Secret, ServiceAccount,
};
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
                let hard =
                    |quota: &ResourceQuota| quota.spec.clone().and_then(|spec| spec.hard).unwrap_or_default();
                let (observed_hard, desired_hard) = (hard(observed), hard(desired));
                holds(&json!(observed.metadata), &json!(desired.metadata))
                    && same_quantities(amounts(&observed_hard), amounts(&desired_hard))
            }
            (Self::LimitRange(observed), Self::LimitRange(desired)) => {
                holds(&json!(observed.metadata), &json!(desired.metadata)) && same_limits(observed, desired)
            }
            (Self::NetworkPolicy(observed), Self::NetworkPolicy(desired)) => {
                holds(&json!(observed.metadata), &json!(desired.metadata)) && same_ingress(observed, desired)
            }
            _ => holds(&self.to_value(), &desired.to_value()),
        }
    }

    /// Whether the stored object can become `desired` only by being deleted and made anew.
    #[must_use]
    pub fn must_be_replaced_for(&self, desired: &Self) -> bool {
        match (self, desired) {
            (Self::RoleBinding(observed), Self::RoleBinding(desired)) => {
                observed.role_ref != desired.role_ref
            }
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

/// Whether a stored LimitRange is what the API server makes of the desired one. An amount that is no longer wanted
/// is drift, so that a namespace has the same limits whatever its account declared before.
fn same_limits(observed: &LimitRange, desired: &LimitRange) -> bool {
    let entries = |range: &LimitRange| range.spec.clone().map(|spec| spec.limits).unwrap_or_default();
    let (observed, desired) = (entries(observed), entries(desired));
    observed.len() == desired.len()
        && observed.iter().zip(desired.into_iter().map(with_defaults)).all(|(observed, desired)| {
            observed.type_ == desired.type_
                && same_optional(observed.default.as_ref(), desired.default.as_ref())
                && same_optional(observed.default_request.as_ref(), desired.default_request.as_ref())
                && same_optional(observed.max.as_ref(), desired.max.as_ref())
                && same_optional(observed.min.as_ref(), desired.min.as_ref())
                && same_optional(
                    observed.max_limit_request_ratio.as_ref(),
                    desired.max_limit_request_ratio.as_ref(),
                )
        })
}

/// Fills in what the API server fills in for containers: `default` from `max`, `defaultRequest` from `default`.
/// Source: `SetDefaults_LimitRangeItem` in `k8s.io/kubernetes/pkg/apis/core/v1`.
fn with_defaults(mut item: LimitRangeItem) -> LimitRangeItem {
    let mut default = item.default.unwrap_or_default();
    for (name, amount) in item.max.iter().flatten() {
        default.entry(name.clone()).or_insert_with(|| amount.clone());
    }
    let mut default_request = item.default_request.unwrap_or_default();
    for (name, amount) in &default {
        default_request.entry(name.clone()).or_insert_with(|| amount.clone());
    }
    item.default = Some(default);
    item.default_request = Some(default_request);
    item
}

type Amounts = std::collections::BTreeMap<String, Quantity>;

fn same_optional(observed: Option<&Amounts>, desired: Option<&Amounts>) -> bool {
    let none = Amounts::new();
    same_quantities(amounts(observed.unwrap_or(&none)), amounts(desired.unwrap_or(&none)))
}

/// Whether a stored NetworkPolicy selects and lets in exactly what is desired. Here an added field is no addition:
/// a label in the pod selector leaves pods unprotected, a namespace selector lets every namespace in.
fn same_ingress(observed: &NetworkPolicy, desired: &NetworkPolicy) -> bool {
    let rules = |policy: &NetworkPolicy| {
        policy
            .spec
            .clone()
            .map(|spec| (spec.pod_selector, spec.policy_types, spec.ingress))
            .unwrap_or_default()
    };
    rules(observed) == rules(desired)
}
