//! Which resources a change may concern: what is looked at again when something moves.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::Utc;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace as CoreNamespace, ServiceAccount};
use keyplane_core::ownership::account_label;
use keyplane_crds::{Account, ApiKey, ApiKeyState, Namespace, SshKey};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use crate::index::{
    Change, ClusterView, digest_of_key, home_key, kubernetes_name_key, owner_of_key, place_of_key,
    revoked_digest_of_key, uid_key, waits_for_room,
};

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
            self.view.ranks_changed(&account.name_any());
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
            let homes: BTreeSet<String> =
                change.objects.iter().filter_map(|namespace| namespace.namespace()).collect();
            for home in &homes {
                self.api_keys_of(home);
                self.account_of(home);
                self.waiting_namespaces_of(home);
            }
        }
    }

    /// An ApiKey may hold, or have set free, a digest that others wait for, and room in its account.
    pub(super) fn api_key_changed(&self, change: &Change<ApiKey>) {
        let ended = |key: &ApiKey| {
            let state = key.status.as_ref().and_then(|status| status.state);
            matches!(state, Some(ApiKeyState::Revoked | ApiKeyState::Expired))
        };
        let others = change.objects.iter().filter(|key| change.concerns_others || ended(key));
        let homes: BTreeSet<String> = others.filter_map(|key| key.namespace()).collect();
        // First: whoever is looked at now must not find the holders and places of before.
        if change.concerns_others {
            self.claims_changed(&change.keys);
        }
        for home in &homes {
            self.view.ranks_changed(home);
        }
        for key in &change.objects {
            send(&self.api_keys, key);
            self.check_owner(key.as_ref());
        }
        for home in &homes {
            self.room_changed(home);
        }
    }

    /// The record of an ApiKey says which digests are its own.
    pub(super) fn identity_changed(&self, change: &Change<ServiceAccount>) {
        for identity in &change.objects {
            if let Some(home) = account_label(&identity.metadata) {
                self.view.ranks_changed(home);
                self.account_of(home);
            }
        }
        self.claims_changed(&change.keys);
        self.owners_changed(change);
    }

    /// A digest that was just remembered as revoked is nobody's any more.
    pub(super) fn tombstones_changed(&self, change: &Change<ConfigMap>) {
        for (account, digest) in change.moved_keys.iter().filter_map(|key| revoked_digest_of_key(key)) {
            self.view.ranks_changed(account);
            let mut keys = self.view.keys_naming(digest);
            keys.retain(|key| key.namespace().as_deref() == Some(account));
            for key in &keys {
                send(&self.api_keys, key);
            }
        }
    }

    /// Of the keys that name a digest, the one that held it until now, and the one that does. To the others nothing
    /// changes, however many they are.
    fn claims_changed(&self, keys: &BTreeSet<String>) {
        for digest in keys.iter().filter_map(|key| digest_of_key(key)) {
            for holder in self.view.holder_changed(digest).into_iter().flatten() {
                for key in self.view.api_keys.find(&uid_key(&holder.uid)) {
                    // Who comes to hold a digest takes a place in its account.
                    self.view.ranks_changed(&key.namespace().unwrap_or_default());
                    send(&self.api_keys, &key);
                }
            }
        }
    }

    /// The account tells how much it has; the keys that have another place now look again.
    fn room_changed(&self, home: &str) {
        self.account_of(home);
        for key in self.view.keys_about_room(home, Utc::now()) {
            send(&self.api_keys, &key);
        }
    }

    fn account_of(&self, home: &str) {
        if let Some(account) = self.view.accounts.get(None, home) {
            send(&self.accounts, &account);
        }
    }

    fn waiting_namespaces_of(&self, home: &str) {
        for namespace in self.view.namespaces.find(&home_key(home)) {
            if namespace.status.as_ref().is_some_and(|status| waits_for_room(&status.conditions)) {
                send(&self.namespaces, &namespace);
            }
        }
    }

    /// An SshKey decides about the account's others and about those with the same fingerprint.
    pub(super) fn ssh_key_changed(&self, change: &Change<SshKey>) {
        for key in &change.objects {
            send(&self.ssh_keys, key);
            self.sealed_to(key);
        }
        if change.concerns_others {
            for home in self.view.ssh_keys_changed(change) {
                self.ssh_keys_of(&home);
                self.account_of(&home);
            }
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
                self.account_of(account);
                self.waiting_namespaces_of(account);
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

    /// Keys that are to be sealed to an SSH key wait for it.
    fn sealed_to(&self, ssh_key: &SshKey) {
        for key in self.view.api_keys.find(&home_key(&ssh_key.namespace().unwrap_or_default())) {
            let sealed_to = key.spec.delivery.as_ref().and_then(|delivery| delivery.sealed_to.as_ref());
            if sealed_to.is_some_and(|sealed_to| sealed_to.ssh_key == ssh_key.name_any()) {
                send(&self.api_keys, &key);
            }
        }
    }

    fn home_changed(&self, home: &str) {
        self.view
            .namespaces
            .find(&home_key(home))
            .iter()
            .for_each(|namespace| send(&self.namespaces, namespace));
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

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    const PUBLIC_KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFhmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZm";

    fn object<K: DeserializeOwned>(
        kind: &str,
        home: Option<&str>,
        name: &str,
        generation: i64,
        spec: &Value,
    ) -> K {
        serde_json::from_value(json!({
            "apiVersion": "keyplane.dev/v1alpha1", "kind": kind, "spec": spec,
            "metadata": {"name": name, "namespace": home, "uid": format!("{kind}-{name}"), "generation": generation},
        }))
        .unwrap()
    }

    fn account(generation: i64) -> Account {
        object("Account", None, "acme", generation, &json!({}))
    }

    fn namespace(generation: i64) -> Namespace {
        object("Namespace", Some("acme"), "web", generation, &json!({}))
    }

    fn api_key(name: &str, generation: i64) -> ApiKey {
        object("ApiKey", Some("acme"), name, generation, &json!({"digest": "one", "scope": {"all": true}}))
    }

    fn ssh_key(home: &str, name: &str, generation: i64) -> SshKey {
        object("SshKey", Some(home), name, generation, &json!({"publicKey": PUBLIC_KEY}))
    }

    fn queued<K: Resource<DynamicType = ()>>(
        queue: &mut UnboundedReceiver<ObjectRef<K>>,
    ) -> BTreeSet<String> {
        std::iter::from_fn(|| queue.try_recv().ok()).map(|reference| reference.name).collect()
    }

    fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
        names.map(ToOwned::to_owned).into()
    }

    /// An account with a namespace, four ApiKeys of one digest and two SshKeys, one of which another account has too;
    /// and nothing queued.
    fn settled() -> (Dispatch, Queues) {
        let view = Arc::new(ClusterView::new());
        view.accounts.apply(&Event::Apply(account(1)));
        view.namespaces.apply(&Event::Apply(namespace(1)));
        for name in ["a", "b", "c", "d"] {
            view.api_keys.apply(&Event::Apply(api_key(name, 1)));
        }
        for (home, name) in [("acme", "one"), ("acme", "two"), ("other", "three")] {
            view.ssh_keys.apply(&Event::Apply(ssh_key(home, name, 1)));
        }
        Dispatch::new(view)
    }

    #[test]
    fn an_update_of_a_status_concerns_the_object_alone() {
        let (dispatch, mut queues) = settled();
        let view = &dispatch.view;
        dispatch.ssh_key_changed(&view.ssh_keys.apply(&Event::Apply(ssh_key("acme", "one", 1))).unwrap());
        dispatch.api_key_changed(&view.api_keys.apply(&Event::Apply(api_key("d", 1))).unwrap());
        dispatch.namespace_changed(&view.namespaces.apply(&Event::Apply(namespace(1))).unwrap());
        dispatch.account_changed(&view.accounts.apply(&Event::Apply(account(1))).unwrap());
        assert_eq!(queued(&mut queues.ssh_keys), names(["one"]));
        assert_eq!(queued(&mut queues.api_keys), names(["d"]));
        assert_eq!(queued(&mut queues.namespaces), names(["web"]));
        assert_eq!(queued(&mut queues.accounts), names(["acme"]));
    }

    #[test]
    fn an_ssh_key_that_says_something_else_or_is_gone_concerns_its_account_and_who_has_the_same_key() {
        let mut dying = ssh_key("acme", "one", 1);
        dying.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-21T10:00:00Z")).unwrap();
        let mut again = ssh_key("acme", "one", 1);
        again.metadata.uid = Some("another".to_owned());
        for event in [
            Event::Apply(ssh_key("acme", "one", 2)),
            Event::Apply(dying),
            Event::Apply(again),
            Event::Delete(ssh_key("acme", "one", 1)),
        ] {
            let (dispatch, mut queues) = settled();
            dispatch.ssh_key_changed(&dispatch.view.ssh_keys.apply(&event).unwrap());
            assert_eq!(queued(&mut queues.ssh_keys), names(["one", "two", "three"]), "{event:?}");
        }
    }

    #[test]
    fn of_many_api_keys_with_one_digest_a_change_concerns_those_that_held_it_before_and_after() {
        let (dispatch, mut queues) = settled();
        let view = &dispatch.view;
        dispatch.api_key_changed(&view.api_keys.apply(&Event::Apply(api_key("d", 2))).unwrap());
        assert_eq!(queued(&mut queues.api_keys), names(["a", "d"]));
        dispatch.api_key_changed(&view.api_keys.apply(&Event::Delete(api_key("a", 1))).unwrap());
        assert_eq!(queued(&mut queues.api_keys), names(["a", "b"]));
    }

    #[test]
    fn an_account_or_namespace_that_says_something_else_concerns_its_home() {
        let (dispatch, mut queues) = settled();
        let view = &dispatch.view;
        dispatch.namespace_changed(&view.namespaces.apply(&Event::Apply(namespace(2))).unwrap());
        assert_eq!(queued(&mut queues.api_keys), names(["a", "b", "c", "d"]));
        assert!(queued(&mut queues.ssh_keys).is_empty());
        dispatch.account_changed(&view.accounts.apply(&Event::Apply(account(2))).unwrap());
        assert_eq!(queued(&mut queues.api_keys), names(["a", "b", "c", "d"]));
        assert_eq!(queued(&mut queues.ssh_keys), names(["one", "two"]));
    }
}
