//! What every workload namespace is provisioned with, and Keyplane's defaults where the Account says nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    LimitRange, LimitRangeItem, LimitRangeSpec, Namespace as CoreNamespace, ResourceQuota, ResourceQuotaSpec,
};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use keyplane_crds::{
    Account, ContainerDefaults, Isolation, NamespaceDefaults, PodSecurityLevel, QuantityMap,
    ResourceQuotaDefaults,
};

use crate::child::Child;
use crate::ownership::{ISOLATION_POLICY, NAMESPACE_CHILD, Owner};

/// The quota of a namespace whose Account names none.
const DEFAULT_QUOTA: [(&str, &str); 8] = [
    ("pods", "50"),
    ("requests.cpu", "8"),
    ("requests.memory", "16Gi"),
    ("limits.cpu", "16"),
    ("limits.memory", "32Gi"),
    ("persistentvolumeclaims", "20"),
    ("requests.storage", "100Gi"),
    ("services.loadbalancers", "2"),
];

/// What a container gets that asks for nothing, where the Account does not say. With a quota on requests, a
/// container without them would not be admitted at all.
const DEFAULT_CONTAINER_LIMITS: [(&str, &str); 2] = [("cpu", "1"), ("memory", "512Mi")];
const DEFAULT_CONTAINER_REQUESTS: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "128Mi")];

/// The core Namespace and what stands in it, in the order in which they are made.
pub(super) fn provisions(account: &Account, owner: &Owner, name: &str) -> Vec<Child> {
    let defaults = account.spec.namespace_defaults.clone().unwrap_or_default();
    let mut wanted = vec![
        Child::from(core_namespace(&defaults, owner, name)),
        Child::from(resource_quota(&defaults, owner, name)),
        Child::from(limit_range(&defaults, owner, name)),
    ];
    if defaults.isolation.unwrap_or(Isolation::Isolated) == Isolation::Isolated {
        wanted.push(Child::from(isolation_policy(owner, name)));
    }
    wanted
}

fn core_namespace(defaults: &NamespaceDefaults, owner: &Owner, name: &str) -> CoreNamespace {
    let level = defaults.pod_security.unwrap_or(PodSecurityLevel::Baseline);
    let mut metadata = owner.child_metadata(None, name);
    metadata.labels.get_or_insert_with(BTreeMap::new).extend([
        ("pod-security.kubernetes.io/enforce".to_owned(), level.as_str().to_owned()),
        ("pod-security.kubernetes.io/warn".to_owned(), level.as_str().to_owned()),
    ]);
    CoreNamespace { metadata, ..CoreNamespace::default() }
}

fn resource_quota(defaults: &NamespaceDefaults, owner: &Owner, name: &str) -> ResourceQuota {
    let hard = defaults
        .resource_quota
        .as_ref()
        .map_or_else(|| constant(&DEFAULT_QUOTA), |ResourceQuotaDefaults { hard }| declared(hard));
    ResourceQuota {
        metadata: owner.child_metadata(Some(name), NAMESPACE_CHILD),
        spec: Some(ResourceQuotaSpec { hard: Some(hard), ..ResourceQuotaSpec::default() }),
        status: None,
    }
}

fn limit_range(defaults: &NamespaceDefaults, owner: &Owner, name: &str) -> LimitRange {
    let item = match &defaults.limit_range {
        None => LimitRangeItem {
            default: Some(constant(&DEFAULT_CONTAINER_LIMITS)),
            default_request: Some(constant(&DEFAULT_CONTAINER_REQUESTS)),
            ..LimitRangeItem::default()
        },
        Some(ContainerDefaults { default, default_request, max }) => LimitRangeItem {
            default: some_quantities(default),
            default_request: some_quantities(default_request),
            max: some_quantities(max),
            ..LimitRangeItem::default()
        },
    };
    LimitRange {
        metadata: owner.child_metadata(Some(name), NAMESPACE_CHILD),
        spec: Some(LimitRangeSpec { limits: vec![LimitRangeItem { type_: "Container".to_owned(), ..item }] }),
    }
}

/// Pods are reached only from their own namespace; a tenant opens more with a NetworkPolicy of its own.
fn isolation_policy(owner: &Owner, name: &str) -> NetworkPolicy {
    let same_namespace =
        NetworkPolicyPeer { pod_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() };
    NetworkPolicy {
        metadata: owner.child_metadata(Some(name), ISOLATION_POLICY),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule { from: Some(vec![same_namespace]), ports: None }]),
            egress: None,
        }),
    }
}

fn constant(amounts: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    amounts.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect()
}

fn declared(map: &QuantityMap) -> BTreeMap<String, Quantity> {
    map.iter().map(|(name, amount)| (name.clone(), Quantity(amount.to_string()))).collect()
}

fn some_quantities(map: &QuantityMap) -> Option<BTreeMap<String, Quantity>> {
    (!map.is_empty()).then(|| declared(map))
}
