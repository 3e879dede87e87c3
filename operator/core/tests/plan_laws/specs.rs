//! What people declare: accounts, scopes, lifetimes, digests and public keys, few enough to meet each other often.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use curve25519_dalek::{EdwardsPoint, Scalar};
use keyplane_crds::{
    AccountSpec, ClusterRoleName, ContainerDefaults, Isolation, KubernetesExec, NamespaceDefaults, Owner,
    OwnerKind, PodSecurityLevel, QuantityMap, QuantityText, ResourceQuotaDefaults, Scope,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::edits::limits;
use crate::model::Cluster;

/// A scope before it is known which namespaces there are.
#[derive(Clone, Debug)]
pub enum ScopeChoice {
    All,
    Inference,
    SshKeys,
    Everywhere(Option<ClusterRoleName>),
    /// Ids of namespaces of any account, which is how one tries another's.
    Ids(Vec<Index>, Option<ClusterRoleName>),
    Names(Vec<usize>, Option<ClusterRoleName>),
    /// An id that nobody has, and an own name in the place of an id.
    Strangers(usize),
}

impl ScopeChoice {
    pub fn resolve(&self, cluster: &Cluster, names: &[&str]) -> Scope {
        let ids: Vec<String> =
            cluster.namespaces.values().filter_map(|namespace| namespace.metadata.uid.clone()).collect();
        let exec = |exec: KubernetesExec| Scope { kubernetes_exec: Some(exec), ..Scope::default() };
        match self {
            Self::All => Scope { all: Some(true), ..Scope::default() },
            Self::Inference => Scope { inference: Some(true), ..Scope::default() },
            Self::SshKeys => Scope { ssh_keys: Some(true), ..Scope::default() },
            Self::Ids(at, role) if !ids.is_empty() => {
                let namespace_ids = at.iter().map(|index| index.get(&ids).clone()).collect();
                exec(KubernetesExec { namespace_ids, role: *role, ..KubernetesExec::default() })
            }
            Self::Everywhere(role) | Self::Ids(_, role) => {
                exec(KubernetesExec { all_namespaces: Some(true), role: *role, ..KubernetesExec::default() })
            }
            Self::Names(at, role) => {
                let namespaces = at.iter().map(|at| names[*at].to_owned()).collect();
                exec(KubernetesExec { namespaces, role: *role, ..KubernetesExec::default() })
            }
            Self::Strangers(at) => {
                let namespace_ids =
                    vec!["00000000-0000-0000-0000-000000000000".to_owned(), names[*at].to_owned()];
                exec(KubernetesExec { namespace_ids, ..KubernetesExec::default() })
            }
        }
    }
}

pub fn scopes() -> impl Strategy<Value = ScopeChoice> {
    let role = || {
        prop::option::of(prop::sample::select(vec![
            ClusterRoleName::View,
            ClusterRoleName::Edit,
            ClusterRoleName::Admin,
        ]))
    };
    prop_oneof![
        2 => Just(ScopeChoice::All),
        1 => Just(ScopeChoice::Inference),
        1 => Just(ScopeChoice::SshKeys),
        3 => role().prop_map(ScopeChoice::Everywhere),
        3 => (prop::collection::vec(any::<Index>(), 1..3), role()).prop_map(|(at, role)| ScopeChoice::Ids(at, role)),
        3 => (prop::collection::vec(0..3_usize, 1..3), role()).prop_map(|(at, role)| ScopeChoice::Names(at, role)),
        1 => (0..3_usize).prop_map(ScopeChoice::Strangers),
    ]
}

/// Half hours from now, so that no end falls into a second of the model's own time. Negative: over when it is created.
pub fn lifetimes() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![3 => Just(None), 1 => prop::sample::select(vec![Some(-1), Some(1), Some(3), Some(5)])]
}

/// The digest of a key that its holder made. The number comes first: an anchor's name has the first half of it.
pub fn digest(at: usize) -> String {
    format!("sha256:{at:08x}{:056x}", 0)
}

/// The digest of a key that Keyplane made.
pub fn issued_digest(at: usize) -> String {
    format!("sha256:{ISSUED}{at:08x}{:048x}", 0)
}

/// Whether Keyplane made the key with this digest.
pub fn is_issued(digest: &str) -> bool {
    digest.contains(ISSUED)
}

/// Marks the digests of keys that Keyplane made.
const ISSUED: &str = "155ed000";

/// Who makes a key.
#[derive(Clone, Copy, Debug)]
pub enum Maker {
    /// Its holder, who declares the digest.
    Holder(usize),
    /// Keyplane, which delivers it to a Secret of the `ApiKey`'s own name.
    DeliveredToSecret,
    /// Keyplane, which seals it to the SshKey of this number.
    SealedTo(usize),
}

pub fn makers() -> impl Strategy<Value = Maker> {
    prop_oneof![
        4 => (0..6_usize).prop_map(Maker::Holder),
        1 => Just(Maker::DeliveredToSecret),
        1 => (0..4_usize).prop_map(Maker::SealedTo),
    ]
}

/// How long a replaced key goes on verifying: half hours, for the same reason.
pub fn graces() -> impl Strategy<Value = Option<u32>> {
    prop::option::of(prop::sample::select(vec![0, 1800, 5400, 9000]))
}

pub fn accounts() -> impl Strategy<Value = AccountSpec> {
    let owner = (0..3_usize, 0..3_usize).prop_map(|(kind, name)| Owner {
        kind: [OwnerKind::User, OwnerKind::Group, OwnerKind::ServiceAccount][kind],
        name: ["ada", "ops", "deployer"][name].to_owned(),
        namespace: (kind == 2).then(|| "ci".to_owned()),
    });
    let owners = prop::collection::vec(owner, 0..3);
    let ssh_keys = prop::option::of(0..3_u32);
    (owners, ssh_keys, prop::option::of(defaults())).prop_map(|(owners, ssh_keys, namespace_defaults)| {
        AccountSpec { owners, limits: limits(ssh_keys), namespace_defaults }
    })
}

fn defaults() -> impl Strategy<Value = NamespaceDefaults> {
    let level = prop::sample::select(vec![PodSecurityLevel::Privileged, PodSecurityLevel::Restricted]);
    let isolation = prop::sample::select(vec![Isolation::Isolated, Isolation::None]);
    let range = (quantities(), quantities(), quantities())
        .prop_map(|(default, default_request, max)| ContainerDefaults { default, default_request, max });
    let quota = quantities().prop_map(|hard| ResourceQuotaDefaults { hard });
    (prop::option::of(level), prop::option::of(quota), prop::option::of(range), prop::option::of(isolation))
        .prop_map(|(pod_security, resource_quota, limit_range, isolation)| NamespaceDefaults {
            pod_security,
            resource_quota,
            limit_range,
            isolation,
        })
}

/// Amounts as people write them, most of which the API server stores differently.
fn quantities() -> impl Strategy<Value = QuantityMap> {
    let texts =
        ["1000m", "1.0", "1.3Gi", "1.5Gi", "10Ei", "1000k", ".5", "0.1n", "0.5Ki", "2048Ki", "1000e27", "m"];
    let amount = prop_oneof![
        3 => prop::sample::select(texts.to_vec()).prop_map(|text| QuantityText::Text(text.to_owned())),
        1 => (0..3_i64).prop_map(QuantityText::Number),
    ];
    let name = prop::sample::select(vec!["cpu", "memory", "pods"]).prop_map(ToOwned::to_owned);
    prop::collection::btree_map(name, amount, 0..3)
}

/// How many public keys there are; the last is none.
pub const PUBLIC_KEYS: usize = 6;

/// A line that can be registered, or one that is not a key. Made once: curve arithmetic is slow without optimisation.
pub fn public_key(at: usize) -> String {
    static LINES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let keys = (1..PUBLIC_KEYS).map(|at| ed25519_line(at as u64));
        keys.chain(["ssh-ed25519 AAAA not a key".to_owned()]).collect()
    });
    LINES[at].clone()
}

fn ed25519_line(secret: u64) -> String {
    let point = EdwardsPoint::mul_base(&Scalar::from(secret)).compress();
    let mut blob = Vec::new();
    for field in [b"ssh-ed25519".as_slice(), point.as_bytes()] {
        blob.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
        blob.extend(field);
    }
    format!("ssh-ed25519 {} key-{secret}", STANDARD.encode(blob))
}
