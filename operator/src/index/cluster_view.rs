//! Everything the controller knows of the cluster, and the look-ups its rules ask for.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{LimitRange, Namespace as CoreNamespace, ResourceQuota, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use keyplane_core::api_key::OwnedNamespace;
use keyplane_core::child::Child;
use keyplane_core::ownership::{account_of_home, kubernetes_name, owner_uid};
use keyplane_core::ssh_public_key::SshPublicKey;
use keyplane_crds::{Account, ApiKey, Namespace, SshKey};
use kube::Resource;

use super::indexed::Indexed;

/// Everything the controller watches.
pub(crate) struct ClusterView {
    pub(crate) accounts: Arc<Indexed<Account>>,
    pub(crate) namespaces: Arc<Indexed<Namespace>>,
    pub(crate) api_keys: Arc<Indexed<ApiKey>>,
    pub(crate) ssh_keys: Arc<Indexed<SshKey>>,
    pub(crate) core_namespaces: Arc<Indexed<CoreNamespace>>,
    pub(crate) service_accounts: Arc<Indexed<ServiceAccount>>,
    pub(crate) secrets: Arc<Indexed<Secret>>,
    pub(crate) role_bindings: Arc<Indexed<RoleBinding>>,
    pub(crate) resource_quotas: Arc<Indexed<ResourceQuota>>,
    pub(crate) limit_ranges: Arc<Indexed<LimitRange>>,
    pub(crate) network_policies: Arc<Indexed<NetworkPolicy>>,
}

/// The look-up key of the objects in a home namespace.
pub(crate) fn home_key(namespace: &str) -> String {
    format!("home/{namespace}")
}

/// The look-up key of the ApiKeys with a digest.
pub(crate) fn digest_key(digest: &str) -> String {
    format!("digest/{digest}")
}

/// The look-up key of the SshKeys with a fingerprint.
pub(crate) fn fingerprint_key(fingerprint: &str) -> String {
    format!("fingerprint/{fingerprint}")
}

/// The look-up key of the Namespaces that want a core Namespace of this name.
pub(crate) fn kubernetes_name_key(name: &str) -> String {
    format!("kubernetes/{name}")
}

/// The look-up key of the object with a UID.
pub(crate) fn uid_key(uid: &str) -> String {
    format!("uid/{uid}")
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

fn own_keys<K: Resource<DynamicType = ()>>(object: &K) -> Vec<String> {
    let uid = object.meta().uid.as_deref().map(uid_key);
    let home = object.meta().namespace.as_deref().map(home_key);
    uid.into_iter().chain(home).collect()
}

pub(crate) fn api_key_keys(key: &ApiKey) -> Vec<String> {
    let mut keys = own_keys(key);
    keys.push(digest_key(&key.spec.digest));
    keys
}

fn namespace_keys(namespace: &Namespace) -> Vec<String> {
    let mut keys = own_keys(namespace);
    keys.push(kubernetes_name_key(&kubernetes_name(namespace)));
    keys
}

fn ssh_key_keys(key: &SshKey) -> Vec<String> {
    let mut keys = own_keys(key);
    keys.extend(fingerprint(key).map(|fingerprint| fingerprint_key(&fingerprint)));
    keys
}

/// The fingerprint of an SshKey that can be parsed.
pub(crate) fn fingerprint(key: &SshKey) -> Option<String> {
    SshPublicKey::parse(&key.spec.public_key).ok().map(|key| key.fingerprint().to_owned())
}

fn child_keys<K: Resource<DynamicType = ()>>(object: &K) -> Vec<String> {
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

/// Quotas, limit ranges and policies are watched by their reserved names; a tenant may take our labels off a
/// policy, and it is still found where it stands.
fn placed_child_keys<K: Resource<DynamicType = ()>>(object: &K) -> Vec<String> {
    let mut keys = child_keys(object);
    keys.extend(object.meta().namespace.as_deref().map(placed_key));
    keys
}

impl ClusterView {
    /// An empty view.
    pub(crate) fn new() -> Self {
        Self {
            accounts: Arc::new(Indexed::new(own_keys)),
            namespaces: Arc::new(Indexed::new(namespace_keys)),
            api_keys: Arc::new(Indexed::new(api_key_keys)),
            ssh_keys: Arc::new(Indexed::new(ssh_key_keys)),
            core_namespaces: Arc::new(Indexed::new(child_keys)),
            service_accounts: Arc::new(Indexed::new(child_keys)),
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
            accounts, namespaces, api_keys, ssh_keys, core_namespaces, service_accounts, secrets, role_bindings,
            resource_quotas, limit_ranges, network_policies
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

    /// What was made for the resource with this UID.
    pub(crate) fn children_of(&self, uid: &str) -> Vec<Child> {
        let key = owner_key(uid);
        macro_rules! collect { ($($index:ident),+) => {{
            let mut children = Vec::new();
            $(children.extend(self.$index.find(&key).iter().map(|object| Child::from(object.as_ref().clone())));)+
            children
        }} }
        collect!(
            core_namespaces, service_accounts, secrets, role_bindings, resource_quotas, limit_ranges, network_policies
        )
    }

    /// What was made for a Namespace with this UID, and what has a reserved name in its core Namespace.
    pub(crate) fn children_of_namespace(&self, uid: &str, core: &str) -> Vec<Child> {
        let key = placed_key(core);
        let mut children = self.children_of(uid);
        macro_rules! add { ($($index:ident),+) => {$(
            for object in self.$index.find(&key) {
                let child = Child::from(object.as_ref().clone());
                if !children.iter().any(|known| known.reference() == child.reference()) {
                    children.push(child);
                }
            }
        )+} }
        add!(resource_quotas, limit_ranges, network_policies);
        children
    }

    /// Whether a resource of ours with this UID is known.
    pub(crate) fn knows_owner(&self, uid: &str) -> bool {
        let key = uid_key(uid);
        !self.api_keys.find(&key).is_empty()
            || !self.namespaces.find(&key).is_empty()
            || !self.accounts.find(&key).is_empty()
    }
}
