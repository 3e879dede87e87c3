//! What the reconcilers see of a cluster, as `operator/src/controllers` and `operator/src/index/cluster_view.rs`
//! gather it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_core::account::{self, ObservedAccount};
use keyplane_core::api_key::{self, OwnedNamespace};
use keyplane_core::child::{Child, ChildKind};
use keyplane_core::limits::ssh_key_limit;
use keyplane_core::namespace::{self, ObservedNamespace};
use keyplane_core::ownership::{
    ISOLATION_POLICY, NAMESPACE_CHILD, account_label, account_of_home, is_binding_name, is_made_for,
    kubernetes_name, owner_uid,
};
use keyplane_core::plan::Plan;
use keyplane_core::ssh_key::{self, KeySummary, ObservedSshKey, SshKeyFacts};
use keyplane_core::ssh_public_key::SshPublicKeyError;
use keyplane_crds::{
    Account, AccountStatus, ApiKey, ApiKeyStatus, IDENTITIES_NAMESPACE, Namespace, NamespaceStatus, SshKey,
    SshKeyStatus,
};

use crate::model::Cluster;
use crate::observe_keys::{holdings_of, namespaces_ahead, observed_api_key};
use crate::resource::{Place, Resource};

/// Whether a watch of the controller shows the object.
fn is_watched(child: &Child) -> bool {
    let place = child.reference();
    match place.kind {
        ChildKind::Namespace => true,
        ChildKind::ServiceAccount | ChildKind::Secret => {
            place.namespace.as_deref() == Some(IDENTITIES_NAMESPACE)
        }
        ChildKind::RoleBinding => is_binding_name(&place.name),
        ChildKind::ResourceQuota | ChildKind::LimitRange => place.name == NAMESPACE_CHILD,
        ChildKind::NetworkPolicy => place.name == ISOLATION_POLICY,
    }
}

fn watched(cluster: &Cluster) -> impl Iterator<Item = &Child> {
    cluster.objects.values().filter(|child| is_watched(child))
}

/// The key's identity and anchor.
fn identity_of(cluster: &Cluster, uid: &str) -> Vec<Child> {
    let is_identity = |child: &&Child| matches!(child, Child::ServiceAccount(_) | Child::Secret(_));
    let is_its = |child: &&Child| owner_uid(child.metadata()) == Some(uid);
    watched(cluster).filter(is_identity).filter(is_its).cloned().collect()
}

/// The `RoleBinding`s of the resource with this UID in the namespaces that are kept, by the account they serve.
fn bindings_of(cluster: &Cluster, uid: &str, keep: impl Fn(Option<&str>) -> bool) -> Vec<Child> {
    let is_binding = |child: &&Child| {
        let place = child.reference();
        let core = place.namespace.as_deref().and_then(|name| cluster.core(name));
        place.kind == ChildKind::RoleBinding
            && owner_uid(child.metadata()) == Some(uid)
            && keep(core.and_then(|core| account_label(&core.metadata)))
    };
    watched(cluster).filter(is_binding).cloned().collect()
}

/// What was made for the resource with this UID, of this account.
pub fn children_of(cluster: &Cluster, uid: &str, account: &str) -> Vec<Child> {
    let is_core =
        |child: &&Child| child.kind() == ChildKind::Namespace && owner_uid(child.metadata()) == Some(uid);
    let mut children = identity_of(cluster, uid);
    children.extend(watched(cluster).filter(is_core).cloned());
    children.extend(bindings_of(cluster, uid, |place| place == Some(account)));
    children
}

/// What is swept of the owner with this UID: all, where nobody knows it, else what stands with another account.
pub fn leftovers(cluster: &Cluster, uid: &str) -> Vec<Child> {
    if let Some(account) = account_name_of(cluster, uid) {
        return bindings_of(cluster, uid, |place| place != Some(account.as_str()));
    }
    let mut orphans = identity_of(cluster, uid);
    orphans.extend(bindings_of(cluster, uid, |_| true));
    orphans
}

/// The UIDs that objects of ours name as their owners'.
pub fn named_owners(cluster: &Cluster) -> BTreeSet<String> {
    watched(cluster).filter_map(|child| owner_uid(child.metadata())).map(ToOwned::to_owned).collect()
}

/// The name of the account that the resource with this UID belongs to.
pub fn account_name_of(cluster: &Cluster, uid: &str) -> Option<String> {
    fn named<R: Resource>(cluster: &Cluster, uid: &str) -> Option<String> {
        let is_it = |resource: &&R| resource.metadata().uid.as_deref() == Some(uid);
        R::table(cluster).values().find(is_it).map(|found| account_name(found.metadata()).to_owned())
    }
    named::<ApiKey>(cluster, uid)
        .or_else(|| named::<Namespace>(cluster, uid))
        .or_else(|| named::<Account>(cluster, uid))
}

/// The account of a resource: where it stands, or the account itself.
pub fn account_name(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().or(metadata.name.as_deref()).unwrap_or_default()
}

pub fn account_of(cluster: &Cluster, home: &str) -> Option<Arc<Account>> {
    let account = cluster.accounts.get(&Place::cluster(home));
    account_of_home(cluster.core(home), account).cloned().map(Arc::new)
}

pub fn owned_namespaces(cluster: &Cluster, home: &str) -> Vec<OwnedNamespace> {
    cluster
        .namespaces
        .values()
        .filter(|namespace| namespace.metadata.namespace.as_deref() == Some(home))
        .filter_map(|namespace| OwnedNamespace::of(namespace, cluster.core(&kubernetes_name(namespace))))
        .collect()
}

pub fn home_of(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().unwrap_or_default()
}

pub fn plan_account(cluster: &Cluster, account: &Arc<Account>, now: DateTime<Utc>) -> Plan<AccountStatus> {
    let name = account.metadata.name.as_deref().unwrap_or_default();
    let observed = ObservedAccount {
        account: account.clone(),
        home: cluster.core(name).cloned().map(Arc::new),
        children: children_of(cluster, account.metadata.uid.as_deref().unwrap_or_default(), name),
        holdings: holdings_of(cluster, name, now),
    };
    account::plan(&observed, now)
}

pub fn plan_namespace(
    cluster: &Cluster,
    namespace: &Arc<Namespace>,
    now: DateTime<Utc>,
) -> Plan<NamespaceStatus> {
    let name = kubernetes_name(namespace);
    let uid = namespace.metadata.uid.as_deref().unwrap_or_default();
    let core = cluster.core(&name);
    let mut children = children_of(cluster, uid, home_of(&namespace.metadata));
    if core.is_some_and(|core| is_made_for(core, Some(uid))) {
        let reserved = |child: &&Child| {
            matches!(
                child.kind(),
                ChildKind::ResourceQuota | ChildKind::LimitRange | ChildKind::NetworkPolicy
            ) && child.reference().namespace.as_deref() == Some(name.as_str())
        };
        children.extend(watched(cluster).filter(reserved).cloned());
    }
    let observed = ObservedNamespace {
        namespace: namespace.clone(),
        account: account_of(cluster, home_of(&namespace.metadata)),
        core: core.cloned().map(Arc::new),
        children,
        ahead: namespaces_ahead(cluster, namespace),
    };
    namespace::plan(&observed, now)
}

pub fn plan_api_key(cluster: &Cluster, key: &Arc<ApiKey>, now: DateTime<Utc>) -> Plan<ApiKeyStatus> {
    api_key::plan(&observed_api_key(cluster, key, now), now)
}

pub fn plan_ssh_key(cluster: &Cluster, key: &Arc<SshKey>, now: DateTime<Utc>) -> Plan<SshKeyStatus> {
    let home = home_of(&key.metadata);
    let all: Vec<SshKeyFacts> = cluster.ssh_keys.values().map(facts_of).collect();
    let account = account_of(cluster, home);
    let limit = account.as_ref().map_or(0, |account| ssh_key_limit(account));
    let observed = ObservedSshKey {
        ssh_key: key.clone(),
        key: facts_of(key).key,
        verdicts: Arc::new(ssh_key::verdicts(home, &rivals(&all, home), limit)),
        account,
    };
    ssh_key::plan(&observed, now)
}

/// The account's keys, and all that share a fingerprint with one of them.
pub fn rivals(all: &[SshKeyFacts], home: &str) -> Vec<SshKeyFacts> {
    let own: BTreeSet<&str> = all.iter().filter(|facts| facts.home == home).filter_map(fingerprint).collect();
    let is_rival = |facts: &&SshKeyFacts| {
        facts.home == home || fingerprint(facts).is_some_and(|text| own.contains(text))
    };
    all.iter().filter(is_rival).cloned().collect()
}

pub fn fingerprint(facts: &SshKeyFacts) -> Option<&str> {
    facts.key.as_ref().ok().map(KeySummary::fingerprint)
}

/// What matters about a key, each text read only once: curve arithmetic is slow without optimisation.
pub fn facts_of(key: &SshKey) -> SshKeyFacts {
    thread_local! {
        static READ: RefCell<HashMap<String, Result<KeySummary, SshPublicKeyError>>> = RefCell::default();
    }
    let text = &key.spec.public_key;
    let read = READ
        .with_borrow_mut(|read| read.entry(text.clone()).or_insert_with(|| KeySummary::read(text)).clone());
    SshKeyFacts::of(key, read)
}
