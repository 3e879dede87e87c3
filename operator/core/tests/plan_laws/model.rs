//! A cluster in memory that takes writes as the API server does: it sets UIDs, times and generations, refuses what
//! the real one refuses, fills in its defaults, and lets namespaces take their contents with them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use keyplane_core::api_key::{KeyRecord, VERSIONS_ANNOTATION};
use keyplane_core::child::{Child, ChildKind, ChildRef};
use keyplane_core::ownership::identity_name;
use keyplane_crds::{Account, ApiKey, IDENTITIES_NAMESPACE, Namespace, SshKey};

use crate::resource::{Place, Resource};
use crate::stored_form::{mended, metadata_mut, stored_form};

/// Why a write was refused: the classes that the controller tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 409: the cluster is not as the writer saw it.
    Conflict,
    /// Another 4xx: it will be refused again until something changes.
    Rejected,
}

/// The cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub now: DateTime<Utc>,
    uids: u64,
    pub accounts: BTreeMap<Place, Account>,
    pub namespaces: BTreeMap<Place, Namespace>,
    pub api_keys: BTreeMap<Place, ApiKey>,
    pub ssh_keys: BTreeMap<Place, SshKey>,
    /// Every object that is not of Keyplane's own API group, whoever made it.
    pub objects: BTreeMap<ChildRef, Child>,
    /// The digests that are remembered as revoked. Nobody takes one out.
    pub tombstones: BTreeSet<String>,
    /// The Secrets in home namespaces that keys were delivered to.
    pub deliveries: BTreeMap<Place, Delivered>,
    /// The manifests of keys that were applied, as they lie in somebody's repository.
    pub manifests: Vec<ApiKey>,
    /// How many keys Keyplane has made.
    pub issued: usize,
    versions: u64,
}

/// A key that was delivered to a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The UID of the `ApiKey` that the Secret is owned by.
    pub owner: String,
    /// The digest of the key in it.
    pub digest: String,
}

impl Cluster {
    /// A cluster in which Keyplane was just installed.
    pub fn new() -> Self {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut cluster = Self {
            now,
            uids: 0,
            accounts: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            api_keys: BTreeMap::new(),
            ssh_keys: BTreeMap::new(),
            objects: BTreeMap::new(),
            tombstones: BTreeSet::new(),
            deliveries: BTreeMap::new(),
            manifests: Vec::new(),
            issued: 0,
            versions: 0,
        };
        for name in [IDENTITIES_NAMESPACE, "default"] {
            cluster.create_child(&core_namespace(name)).unwrap();
        }
        cluster
    }

    /// Whether everything that is stored is the same.
    pub fn is_same(&self, other: &Self) -> bool {
        self.accounts == other.accounts
            && self.namespaces == other.namespaces
            && self.api_keys == other.api_keys
            && self.ssh_keys == other.ssh_keys
            && self.objects == other.objects
            && self.tombstones == other.tombstones
            && self.deliveries == other.deliveries
    }

    pub fn pass(&mut self, seconds: i64) {
        self.now += TimeDelta::seconds(seconds);
    }

    /// What the server adds to a new object. UIDs have no order in time, and times are whole seconds.
    pub fn admitted(&mut self, metadata: &ObjectMeta) -> ObjectMeta {
        self.uids += 1;
        ObjectMeta {
            uid: Some(format!("{:016x}", self.uids.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
            creation_timestamp: Some(self.time()),
            generation: Some(1),
            ..metadata.clone()
        }
    }

    fn time(&self) -> Time {
        Time(Timestamp::from_second(self.now.timestamp()).unwrap())
    }

    pub fn core(&self, name: &str) -> Option<&k8s_openapi::api::core::v1::Namespace> {
        let place = ChildRef { kind: ChildKind::Namespace, namespace: None, name: name.to_owned() };
        match self.objects.get(&place) {
            Some(Child::Namespace(core)) => Some(core),
            _ => None,
        }
    }

    /// Nothing can be made in a namespace that is not there or is on its way out.
    fn takes_new_objects(&self, namespace: Option<&str>) -> bool {
        namespace
            .is_none_or(|name| self.core(name).is_some_and(|core| core.metadata.deletion_timestamp.is_none()))
    }

    pub fn create_child(&mut self, desired: &Child) -> Result<(), Refusal> {
        let place = desired.reference();
        if self.objects.contains_key(&place) {
            return Err(Refusal::Conflict);
        }
        if !self.takes_new_objects(place.namespace.as_deref()) {
            return Err(Refusal::Rejected);
        }
        let mut child = stored_form(desired);
        *metadata_mut(&mut child) = self.admitted(desired.metadata());
        metadata_mut(&mut child).resource_version = Some(self.next_version());
        self.objects.insert(place, child);
        Ok(())
    }

    fn next_version(&mut self) -> String {
        self.versions += 1;
        self.versions.to_string()
    }

    /// A forced server-side apply with the UID in its metadata, and where it is given, the version.
    pub fn update_child(&mut self, desired: &Child, uid: &str, version: Option<&str>) -> Result<(), Refusal> {
        let found = self.objects.get(&desired.reference()).ok_or(Refusal::Conflict)?;
        let is_newer = version.is_some() && found.metadata().resource_version.as_deref() != version;
        if found.uid() != uid || is_newer {
            return Err(Refusal::Conflict);
        }
        let mut child = mended(found, desired).ok_or(Refusal::Rejected)?;
        if child != *found {
            metadata_mut(&mut child).resource_version = Some(self.next_version());
        }
        self.objects.insert(desired.reference(), child);
        Ok(())
    }

    /// The ServiceAccount of a key.
    pub fn identity(&self, key_uid: &str) -> Option<&Child> {
        self.objects.get(&identity_place(key_uid))
    }

    /// A merge patch of the record on a key's ServiceAccount, on top of the version that was read.
    pub fn write_record(
        &mut self,
        key_uid: &str,
        record: &KeyRecord,
        version: Option<&str>,
    ) -> Result<(), Refusal> {
        let next = self.next_version();
        let found = self.objects.get_mut(&identity_place(key_uid)).ok_or(Refusal::Conflict)?;
        let metadata = metadata_mut(found);
        if metadata.resource_version.as_deref() != version {
            return Err(Refusal::Conflict);
        }
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(VERSIONS_ANNOTATION.to_owned(), record.to_annotation());
        metadata.resource_version = Some(next);
        Ok(())
    }

    /// What Kubernetes' garbage collector does: the Secrets whose owner is gone go.
    pub fn collect_deliveries(&mut self) {
        let keys = &self.api_keys;
        self.deliveries.retain(|_, delivered| {
            keys.values().any(|key| key.metadata.uid.as_ref() == Some(&delivered.owner))
        });
    }

    /// A deletion with a UID precondition. Core Namespaces linger, and what a finalizer holds.
    pub fn delete_child(&mut self, place: &ChildRef, uid: &str) -> Result<(), Refusal> {
        let time = self.time();
        let Some(found) = self.objects.get_mut(place) else {
            return Ok(());
        };
        if found.uid() != uid {
            return Err(Refusal::Conflict);
        }
        if place.kind == ChildKind::Namespace || is_held(found) {
            metadata_mut(found).deletion_timestamp.get_or_insert(time);
        } else {
            self.objects.remove(place);
        }
        Ok(())
    }

    /// Takes the finalizers off an object, and the subjects off a `RoleBinding`.
    pub fn release_child(&mut self, place: &ChildRef, uid: &str) {
        let Some(found) = self.objects.get_mut(place).filter(|found| found.uid() == uid) else {
            return;
        };
        metadata_mut(found).finalizers = None;
        if let Child::RoleBinding(binding) = found {
            binding.subjects = None;
        }
        if found.is_terminating() {
            self.objects.remove(place);
        }
    }

    pub fn create<R: Resource>(&mut self, mut resource: R) -> Result<(), Refusal> {
        let place = Place::of(resource.metadata());
        if R::table(self).contains_key(&place) {
            return Err(Refusal::Conflict);
        }
        if !self.takes_new_objects(place.home.as_deref()) {
            return Err(Refusal::Rejected);
        }
        *resource.metadata_mut() = self.admitted(resource.metadata());
        R::table_mut(self).insert(place, resource);
        Ok(())
    }

    pub fn delete<R: Resource>(&mut self, place: &Place) {
        let time = self.time();
        let Some(resource) = R::table_mut(self).get_mut(place) else {
            return;
        };
        let metadata = resource.metadata_mut();
        if metadata.finalizers.iter().flatten().next().is_none() {
            R::table_mut(self).remove(place);
        } else if metadata.deletion_timestamp.is_none() {
            metadata.deletion_timestamp = Some(time);
            metadata.generation = metadata.generation.map(|generation| generation + 1);
        }
    }

    pub fn set_finalizers<R: Resource>(&mut self, place: &Place, finalizers: Vec<String>) {
        let Some(resource) = R::table_mut(self).get_mut(place) else {
            return;
        };
        let metadata = resource.metadata_mut();
        let is_over = metadata.deletion_timestamp.is_some() && finalizers.is_empty();
        metadata.finalizers = (!finalizers.is_empty()).then_some(finalizers);
        if is_over {
            R::table_mut(self).remove(place);
        }
    }

    /// A status that has the UID of the resource it was seen on. What is gone needs no status.
    pub fn write_status<R: Resource>(&mut self, place: &Place, uid: Option<&str>, status: &R::Status) {
        if let Some(resource) = R::table_mut(self).get_mut(place)
            && resource.metadata().uid.as_deref() == uid
        {
            let json = serde_json::to_value(status).unwrap();
            resource.set_status(serde_json::from_value(json).unwrap());
        }
    }

    /// What Kubernetes' namespace controller does: empties the namespaces that are being deleted, and lets go of the
    /// empty ones.
    pub fn collect_namespaces(&mut self) {
        self.collect_deliveries();
        let terminating: Vec<ChildRef> = self
            .objects
            .iter()
            .filter(|(_, child)| child.is_terminating())
            .map(|(place, _)| place.clone())
            .collect();
        let time = self.time();
        for place in terminating.into_iter().filter(|place| place.kind == ChildKind::Namespace) {
            let is_within = |inner: &ChildRef| inner.namespace.as_ref() == Some(&place.name);
            self.objects.retain(|inner, child| !is_within(inner) || is_held(child));
            let mut held = 0;
            for (_, child) in self.objects.iter_mut().filter(|(inner, _)| is_within(inner)) {
                metadata_mut(child).deletion_timestamp.get_or_insert_with(|| time.clone());
                held += 1;
            }
            let left = [
                self.delete_all_in::<Namespace>(&place.name),
                self.delete_all_in::<ApiKey>(&place.name),
                self.delete_all_in::<SshKey>(&place.name),
            ];
            if held == 0 && left == [0, 0, 0] {
                self.objects.remove(&place);
            }
        }
    }

    fn delete_all_in<R: Resource>(&mut self, home: &str) -> usize {
        let places = |cluster: &Self| -> Vec<Place> {
            R::table(cluster).keys().filter(|place| place.home.as_deref() == Some(home)).cloned().collect()
        };
        for place in places(self) {
            self.delete::<R>(&place);
        }
        places(self).len()
    }
}

fn identity_place(key_uid: &str) -> ChildRef {
    ChildRef {
        kind: ChildKind::ServiceAccount,
        namespace: Some(IDENTITIES_NAMESPACE.to_owned()),
        name: identity_name(key_uid),
    }
}

fn is_held(child: &Child) -> bool {
    child.metadata().finalizers.iter().flatten().next().is_some()
}

/// A core Namespace as somebody else makes it.
pub fn core_namespace(name: &str) -> Child {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    Child::Namespace(k8s_openapi::api::core::v1::Namespace { metadata, ..Default::default() })
}
