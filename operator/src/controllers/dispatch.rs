//! Which resources a change may concern: what is looked at again when something moves.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use k8s_openapi::api::core::v1::Namespace as CoreNamespace;
use keyplane_core::ownership::account_label;
use keyplane_core::seniority::Seniority;
use keyplane_crds::{Account, ApiKey, Namespace, SshKey};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use crate::index::{Change, ClusterView, home_key, is_digest_key, kubernetes_name_key, owner_of_key, place_of_key, uid_key};

/// The queues of the reconcilers, and the rules by which changes reach them.
#[derive(Clone)]
pub(super) struct Dispatch {
    view: Arc<ClusterView>,
    accounts: UnboundedSender<ObjectRef<Account>>,
    namespaces: UnboundedSender<ObjectRef<Namespace>>,
    api_keys: UnboundedSender<ObjectRef<ApiKey>>,
    ssh_keys: UnboundedSender<ObjectRef<SshKey>>,
    ownerless: UnboundedSender<String>,
}

/// The ends of the queues that the reconcilers read.
pub(super) struct Queues {
    pub(super) accounts: UnboundedReceiver<ObjectRef<Account>>,
    pub(super) namespaces: UnboundedReceiver<ObjectRef<Namespace>>,
    pub(super) api_keys: UnboundedReceiver<ObjectRef<ApiKey>>,
    pub(super) ssh_keys: UnboundedReceiver<ObjectRef<SshKey>>,
    /// UIDs of owners that nobody knows.
    pub(super) ownerless: UnboundedReceiver<String>,
}

impl Dispatch {
    pub(super) fn new(view: Arc<ClusterView>) -> (Self, Queues) {
        let (accounts, accounts_end) = unbounded();
        let (namespaces, namespaces_end) = unbounded();
        let (api_keys, api_keys_end) = unbounded();
        let (ssh_keys, ssh_keys_end) = unbounded();
        let (ownerless, ownerless_end) = unbounded();
        let queues = Queues {
            accounts: accounts_end,
            namespaces: namespaces_end,
            api_keys: api_keys_end,
            ssh_keys: ssh_keys_end,
            ownerless: ownerless_end,
        };
        (Self { view, accounts, namespaces, api_keys, ssh_keys, ownerless }, queues)
    }

    /// An Account decides about everything in its home namespace.
    pub(super) fn account_changed(&self, change: &Change<Account>) {
        for account in &change.objects {
            send(&self.accounts, account);
            if change.concerns_others {
                self.home_changed(&account.name_any());
            }
            self.check_owner(account.as_ref());
        }
    }

    /// A Namespace may join or leave every key of its account.
    pub(super) fn namespace_changed(&self, change: &Change<Namespace>) {
        for namespace in &change.objects {
            send(&self.namespaces, namespace);
            self.check_owner(namespace.as_ref());
        }
        if change.concerns_others {
            let homes: BTreeSet<String> = change.objects.iter().filter_map(ResourceExt::namespace).collect();
            homes.iter().for_each(|home| self.api_keys_of(home));
        }
    }

    /// An ApiKey may hold, or have set free, a digest that others wait for.
    pub(super) fn api_key_changed(&self, change: &Change<ApiKey>) {
        for key in &change.objects {
            send(&self.api_keys, key);
            self.check_owner(key.as_ref());
        }
        if !change.concerns_others {
            return;
        }
        for key in change.keys.iter().filter(|key| is_digest_key(key)) {
            let mut rivals = self.view.api_keys.find(key);
            rivals.sort_by_cached_key(|rival| Seniority::of(&rival.metadata));
            // The oldest is the key, or has just become it; the next was until just now. To the others nothing
            // changes, however many they are.
            rivals.iter().take(2).for_each(|rival| send(&self.api_keys, rival));
        }
    }

    /// An SshKey decides about the account's others and about those with the same fingerprint.
    pub(super) fn ssh_key_changed(&self, change: &Change<SshKey>) {
        for key in &change.objects {
            send(&self.ssh_keys, key);
        }
        if change.concerns_others {
            self.view.ssh_keys_changed(change).iter().for_each(|home| self.ssh_keys_of(home));
        }
    }

    /// A core Namespace may be a home, a workload namespace, or in the way of one, whoever made it.
    pub(super) fn core_namespace_changed(&self, change: &Change<CoreNamespace>) {
        for core in &change.objects {
            let name = core.name_any();
            if let Some(account) = self.view.accounts.get(None, &name) {
                send(&self.accounts, &account);
                self.home_changed(&name);
            }
            for namespace in self.view.namespaces.find(&kubernetes_name_key(&name)) {
                send(&self.namespaces, &namespace);
            }
            if let Some(account) = account_label(&core.metadata) {
                self.api_keys_of(account);
            }
        }
        self.owners_changed(change);
    }

    /// An object that was made for a resource concerns that resource.
    pub(super) fn owners_changed<K: Resource>(&self, change: &Change<K>) {
        change.keys.iter().filter_map(|key| owner_of_key(key)).for_each(|uid| self.owner_changed(uid));
        for place in change.keys.iter().filter_map(|key| place_of_key(key)) {
            for namespace in self.view.namespaces.find(&kubernetes_name_key(place)) {
                send(&self.namespaces, &namespace);
            }
        }
    }

    fn owner_changed(&self, uid: &str) {
        let key = uid_key(uid);
        self.view.api_keys.find(&key).iter().for_each(|owner| send(&self.api_keys, owner));
        self.view.namespaces.find(&key).iter().for_each(|owner| send(&self.namespaces, owner));
        self.view.accounts.find(&key).iter().for_each(|owner| send(&self.accounts, owner));
        let account = self.view.account_name_of(uid);
        if account.is_none_or(|account| !self.view.strays_of(uid, &account).is_empty()) {
            // The receiver ends only with the process.
            let _ = self.ownerless.unbounded_send(uid.to_owned());
        }
    }

    /// A resource that is gone leaves what it made to the sweep.
    fn check_owner<K: Resource>(&self, object: &K) {
        if let Some(uid) = object.meta().uid.as_deref().filter(|uid| !self.view.knows_owner(uid)) {
            let _ = self.ownerless.unbounded_send(uid.to_owned());
        }
    }

    fn home_changed(&self, home: &str) {
        self.view.namespaces.find(&home_key(home)).iter().for_each(|namespace| send(&self.namespaces, namespace));
        self.api_keys_of(home);
        self.ssh_keys_of(home);
    }

    fn api_keys_of(&self, home: &str) {
        self.view.api_keys.find(&home_key(home)).iter().for_each(|key| send(&self.api_keys, key));
    }

    fn ssh_keys_of(&self, home: &str) {
        self.view.ssh_keys.find(&home_key(home)).iter().for_each(|key| send(&self.ssh_keys, key));
    }
}

/// Queues a resource; what is queued already is merged by the scheduler. The receiver ends only with the process.
fn send<K>(queue: &UnboundedSender<ObjectRef<K>>, object: &Arc<K>)
where
    K: Resource<DynamicType = ()>,
{
    let _ = queue.unbounded_send(ObjectRef::from_obj(object.as_ref()));
}
