//! Everything the controller knows of the cluster, and the look-ups its rules ask for.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    ConfigMap, LimitRange, Namespace as CoreNamespace, ResourceQuota, Secret, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use keyplane_core::api_key::OwnedNamespace;
use keyplane_core::child::Child;
use keyplane_core::ownership::{account_label, account_of_home, kubernetes_name, owner_uid};
use keyplane_core::ssh_key::KeySummary;
use keyplane_crds::{Account, ApiKey, Namespace, SshKey};
use kube::Resource;

use super::api_key_view::{Holder, Ranks, identity_keys, tombstone_keys};
use super::decided::Decided;
use super::indexed::Indexed;
use super::namespace_places::NamespacePlaces;
use super::ssh_key_reads::Reading;
use super::ssh_key_view::SshKeyBook;

/// Everything the controller watches.
pub(crate) struct ClusterView {
    pub(crate) accounts: Arc<Indexed<Account>>,
    pub(crate) namespaces: Arc<Indexed<Namespace>>,
    pub(crate) api_keys: Arc<Indexed<ApiKey>>,
    pub(crate) ssh_keys: Arc<Indexed<SshKey>>,
    pub(super) ssh_key_book: SshKeyBook,
    pub(crate) core_namespaces: Arc<Indexed<CoreNamespace>>,
    /// The ConfigMaps in which revoked digests are remembered.
    pub(crate) tombstones: Arc<Indexed<ConfigMap>>,
    /// The places of accounts' live keys, by home namespace.
    pub(super) namespace_places: NamespacePlaces,
    pub(super) ranks: Decided<Ranks>,
    /// Whose each digest is.
    pub(super) holders: Decided<Holder>,
    pub(crate) service_accounts: Arc<Indexed<ServiceAccount>>,
    pub(crate) secrets: Arc<Indexed<Secret>>,
    pub(crate) role_bindings: Arc<Indexed<RoleBinding>>,
    pub(crate) resource_quotas: Arc<Indexed<ResourceQuota>>,
    pub(crate) limit_ranges: Arc<Indexed<LimitRange>>,
    pub(crate) network_policies: Arc<Indexed<NetworkPolicy>>,
}

/// The look-up key of the objects in a home namespace.
pub(crate) fn home_key(namespace: &str) -> String {
    format!("{HOME_KEY}{namespace}")
}

const HOME_KEY: &str = "home/";

/// The namespace in a key that [`home_key`] made.
pub(super) fn home_of_key(key: &str) -> Option<&str> {
    key.strip_prefix(HOME_KEY)
}

/// The look-up key of the ApiKeys with a digest.
pub(crate) fn digest_key(digest: &str) -> String {
    format!("{DIGEST_KEY}{digest}")
}

const DIGEST_KEY: &str = "digest/";

/// The digest in a key that [`digest_key`] made.
pub(crate) fn digest_of_key(key: &str) -> Option<&str> {
    key.strip_prefix(DIGEST_KEY)
}

/// The look-up key of the SshKeys with a fingerprint.
pub(super) fn fingerprint_key(fingerprint: &str) -> String {
    format!("{FINGERPRINT_KEY}{fingerprint}")
}

const FINGERPRINT_KEY: &str = "fingerprint/";

/// Whether [`fingerprint_key`] made the key.
pub(super) fn is_fingerprint_key(key: &str) -> bool {
    key.starts_with(FINGERPRINT_KEY)
}

/// The look-up key of the Namespaces that want a core Namespace of this name.
pub(crate) fn kubernetes_name_key(name: &str) -> String {
    format!("kubernetes/{name}")
}

/// The look-up key of the object with a UID.
pub(crate) fn uid_key(uid: &str) -> String {
    format!("{UID_KEY}{uid}")
}

const UID_KEY: &str = "uid/";

/// The UID in a key that [`uid_key`] made.
pub(crate) fn uid_of_key(key: &str) -> Option<&str> {
    key.strip_prefix(UID_KEY)
}

/// The look-up key of the objects made for the resource with a UID.
pub(crate) fn owner_key(uid: &str) -> String {
    format!("{OWNER_KEY}{uid}")
}

const OWNER_KEY: &str = "owner/";

/// The UID in a key that [`owner_key`] made.
pub(crate) fn owner_of_key(key: &str) -> Option<&str> {
    key.strip_prefix(OWNER_KEY)
}

pub(super) fn own_keys<K: Resource<DynamicType = ()>>(object: &K) -> Vec<String> {
    let uid = object.meta().uid.as_deref().map(uid_key);
    let home = object.meta().namespace.as_deref().map(home_key);
    uid.into_iter().chain(home).collect()
}

pub(crate) fn api_key_keys(key: &ApiKey) -> Vec<String> {
    let mut keys = own_keys(key);
    keys.extend(key.spec.digest.as_deref().map(digest_key));
    keys
}

fn namespace_keys(namespace: &Namespace) -> Vec<String> {
    let mut keys = own_keys(namespace);
    keys.push(kubernetes_name_key(&kubernetes_name(namespace)));
    keys
}

pub(super) fn child_keys<K: Resource<DynamicType = ()>>(object: &K) -> Vec<String> {
    owner_uid(object.meta()).map(owner_key).into_iter().collect()
}

/// The look-up key of objects of ours by the core Namespace they stand in, whatever their labels say.
fn placed_key(namespace: &str) -> String {
    format!("{PLACED_KEY}{namespace}")
}

const PLACED_KEY: &str = "placed/";

/// The core Namespace in a key of an object that stands in it.
pub(crate) fn place_of_key(key: &str) -> Option<&str> {
    key.strip_prefix(PLACED_KEY)
}

/// Quotas, limit ranges and policies are watched by their reserved names, and found where they stand.
fn placed_child_keys<K: Resource<DynamicType = ()>>(object: &K) -> Vec<String> {
    object.meta().namespace.as_deref().map(placed_key).into_iter().collect()
}

impl ClusterView {
    /// An empty view.
    pub(crate) fn new() -> Self {
        Self::reading(KeySummary::read)
    }

    /// An empty view that reads the SshKeys' public keys with `read`.
    pub(super) fn reading(read: fn(&str) -> Reading) -> Self {
        let (ssh_key_book, ssh_keys) = SshKeyBook::new(read);
        Self {
            accounts: Arc::new(Indexed::new(own_keys)),
            namespaces: Arc::new(Indexed::new(namespace_keys)),
            api_keys: Arc::new(Indexed::new(api_key_keys)),
            ssh_keys,
            ssh_key_book,
            core_namespaces: Arc::new(Indexed::new(child_keys)),
            tombstones: Arc::new(Indexed::new(tombstone_keys)),
            namespace_places: NamespacePlaces::default(),
            ranks: Decided::default(),
            holders: Decided::default(),
            service_accounts: Arc::new(Indexed::new(identity_keys)),
            secrets: Arc::new(Indexed::new(child_keys)),
            role_bindings: Arc::new(Indexed::new(child_keys)),
            resource_quotas: Arc::new(Indexed::new(placed_child_keys)),
            limit_ranges: Arc::new(Indexed::new(placed_child_keys)),
            network_policies: Arc::new(Indexed::new(placed_child_keys)),
        }
    }

    /// Waits until every kind has been listed once. Deciding earlier would take what is not yet known for absent.
    pub(crate) async fn synced(&self) -> bool {
        macro_rules! wait { ($($index:ident),+) => { true $(&& self.$index.store().wait_until_ready().await.is_ok())+ } }
        wait!(
            accounts,
            namespaces,
            api_keys,
            ssh_keys,
            core_namespaces,
            tombstones,
            service_accounts,
            secrets,
            role_bindings,
            resource_quotas,
            limit_ranges,
            network_policies
        )
    }

    /// The live account whose home namespace this is.
    pub(crate) fn account_of(&self, home: &str) -> Option<Arc<Account>> {
        let account = self.accounts.get(None, home);
        let core = self.core_namespaces.get(None, home);
        account_of_home(core.as_deref(), account.as_deref())?;
        account
    }

    /// The namespaces of the account whose home namespace this is.
    pub(crate) fn owned_namespaces(&self, home: &str) -> Vec<OwnedNamespace> {
        self.namespaces
            .find(&home_key(home))
            .iter()
            .filter_map(|namespace| {
                let core = self.core_namespaces.get(None, &kubernetes_name(namespace));
                OwnedNamespace::of(namespace, core.as_deref())
            })
            .collect()
    }

    /// What was made for the resource with this UID, of this account. `RoleBinding`s count only in the account's own
    /// namespaces: anybody may give one our name elsewhere, and nobody's clean-up shall depend on it.
    pub(crate) fn children_of(&self, uid: &str, account: &str) -> Vec<Child> {
        let mut children = self.identity_of(uid);
        let key = owner_key(uid);
        children.extend(
            self.core_namespaces.find(&key).iter().map(|object| Child::from(object.as_ref().clone())),
        );
        children.extend(self.bindings_of(uid, |place| place == Some(account)));
        children
    }

    /// What is called after the resource with this UID, or stands in its name, and is none of its children.
    pub(crate) fn strays_of(&self, uid: &str, account: &str) -> Vec<Child> {
        self.bindings_of(uid, |place| place != Some(account)).collect()
    }

    /// What is left of a resource that is gone.
    pub(crate) fn orphans_of(&self, uid: &str) -> Vec<Child> {
        let mut orphans = self.identity_of(uid);
        orphans.extend(self.bindings_of(uid, |_| true));
        orphans
    }

    pub(super) fn identity_of(&self, uid: &str) -> Vec<Child> {
        let key = owner_key(uid);
        let accounts = self.service_accounts.find(&key);
        let anchors = self.secrets.find(&key);
        let accounts = accounts.iter().map(|object| Child::from(object.as_ref().clone()));
        accounts.chain(anchors.iter().map(|object| Child::from(object.as_ref().clone()))).collect()
    }

    fn bindings_of(&self, uid: &str, keep: impl Fn(Option<&str>) -> bool) -> impl Iterator<Item = Child> {
        let bindings = self.role_bindings.find(&owner_key(uid)).into_iter();
        bindings
            .filter(move |binding| {
                let place = binding.metadata.namespace.as_deref().unwrap_or_default();
                let core = self.core_namespaces.get(None, place);
                keep(core.as_ref().and_then(|core| account_label(&core.metadata)))
            })
            .map(|binding| Child::from(binding.as_ref().clone()))
    }

    /// What was made for a Namespace with this UID. What stands in its core Namespace under a reserved name is its
    /// own by place; a label on it proves nothing.
    pub(crate) fn children_of_namespace(&self, uid: &str, account: &str, core: Option<&str>) -> Vec<Child> {
        let mut children = self.children_of(uid, account);
        let Some(core) = core else { return children };
        let key = placed_key(core);
        macro_rules! add { ($($index:ident),+) => {$(
            children.extend(self.$index.find(&key).iter().map(|object| Child::from(object.as_ref().clone())));
        )+} }
        add!(resource_quotas, limit_ranges, network_policies);
        children
    }

    /// The name of the account that the resource with this UID belongs to.
    pub(crate) fn account_name_of(&self, uid: &str) -> Option<String> {
        let key = uid_key(uid);
        let homed = self.api_keys.find(&key).first().and_then(|key| key.metadata.namespace.clone());
        homed
            .or_else(|| {
                self.namespaces.find(&key).first().and_then(|object| object.metadata.namespace.clone())
            })
            .or_else(|| self.accounts.find(&key).first().and_then(|object| object.metadata.name.clone()))
    }

    /// Whether a resource of ours with this UID is known.
    pub(crate) fn knows_owner(&self, uid: &str) -> bool {
        self.account_name_of(uid).is_some()
    }
}
