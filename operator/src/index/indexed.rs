//! One kind of object in memory, with secondary look-ups.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use kube::Resource;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;

/// What a watch event changed: the look-up keys of the object before and after, and the object itself. A relist
/// reports every object, because what happened while the watch was away is not known.
pub(crate) struct Change<K: Resource> {
    /// The objects that were applied or deleted.
    pub(crate) objects: Vec<Arc<K>>,
    /// Every look-up key that leads, or led, to one of them.
    pub(crate) keys: BTreeSet<String>,
    /// Those of the keys that lead to the object only before, or only after. After a relist: all.
    pub(crate) moved_keys: BTreeSet<String>,
    /// Whether rules about other objects may see a difference: an object came, went or is being deleted, or its spec
    /// changed. False when only its status, labels or the like did: every write of a status comes back as a change,
    /// and must not set all the neighbours going.
    pub(crate) concerns_others: bool,
}

/// What another object's rules see of a version of an object.
#[derive(PartialEq)]
struct Version {
    uid: Option<String>,
    /// Counts the changes of the spec; core kinds without a status have none.
    generation: Option<i64>,
    is_deleting: bool,
}

impl Version {
    fn of(object: &impl Resource) -> Self {
        let metadata = object.meta();
        Self {
            uid: metadata.uid.clone(),
            generation: metadata.generation,
            is_deleting: metadata.deletion_timestamp.is_some(),
        }
    }

    /// Whether an object that was at this version says the same to others at the next.
    fn says_the_same(&self, next: &Self) -> bool {
        self.generation.is_some() && self == next
    }
}

/// The look-up keys of an object.
type Keys<K> = dyn Fn(&K) -> Vec<String> + Send + Sync;

struct Lookups<K: Resource<DynamicType = ()>> {
    by_key: HashMap<String, HashSet<ObjectRef<K>>>,
    keys_of: HashMap<ObjectRef<K>, Vec<String>>,
}

/// Objects of one kind, by reference and by look-up keys such as `home/acme` or `digest/sha256:…`.
///
/// A relist emits no Delete: the store is swapped whole at its end, and the look-ups are rebuilt from it.
pub(crate) struct Indexed<K: Resource<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    writer: std::sync::Mutex<Writer<K>>,
    lookups: RwLock<Lookups<K>>,
    keys: Box<Keys<K>>,
}

impl<K> Indexed<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    /// An empty index whose look-up keys are what `keys` says of an object.
    pub(crate) fn new(keys: impl Fn(&K) -> Vec<String> + Send + Sync + 'static) -> Self {
        let (store, writer) = kube::runtime::reflector::store();
        Self {
            store,
            writer: std::sync::Mutex::new(writer),
            lookups: RwLock::new(Lookups { by_key: HashMap::new(), keys_of: HashMap::new() }),
            keys: Box::new(keys),
        }
    }

    /// The objects by reference.
    pub(crate) fn store(&self) -> &Store<K> {
        &self.store
    }

    /// The object of this name.
    pub(crate) fn get(&self, namespace: Option<&str>, name: &str) -> Option<Arc<K>> {
        let mut reference = ObjectRef::new(name);
        reference.namespace = namespace.map(ToOwned::to_owned);
        self.store.get(&reference)
    }

    /// The objects that a look-up key leads to.
    pub(crate) fn find(&self, key: &str) -> Vec<Arc<K>> {
        let lookups = self.lookups.read().unwrap_or_else(PoisonError::into_inner);
        lookups
            .by_key
            .get(key)
            .into_iter()
            .flatten()
            .filter_map(|reference| self.store.get(reference))
            .collect()
    }

    /// Takes in a watch event. Nothing is reported while a list is under way.
    pub(crate) fn apply(&self, event: &Event<K>) -> Option<Change<K>> {
        // Readers hold the look-ups' lock: none sees the store of one moment and the look-ups of another.
        let mut lookups = self.lookups.write().unwrap_or_else(PoisonError::into_inner);
        let before = match event {
            Event::Apply(object) => {
                self.store.get(&ObjectRef::from_obj(object)).map(|known| Version::of(known.as_ref()))
            }
            _ => None,
        };
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).apply_watcher_event(event);
        match event {
            Event::Apply(object) => {
                let reference = ObjectRef::from_obj(object);
                let old: BTreeSet<String> = lookups.remove(&reference).into_iter().collect();
                let listed = (self.keys)(object);
                let new: BTreeSet<String> = listed.iter().cloned().collect();
                lookups.insert(reference, listed);
                let concerns_others = before.is_none_or(|before| !before.says_the_same(&Version::of(object)));
                Some(Change {
                    objects: vec![Arc::new(object.clone())],
                    keys: old.union(&new).cloned().collect(),
                    moved_keys: old.symmetric_difference(&new).cloned().collect(),
                    concerns_others,
                })
            }
            Event::Delete(object) => {
                let keys: BTreeSet<String> =
                    lookups.remove(&ObjectRef::from_obj(object)).into_iter().collect();
                let moved_keys = keys.clone();
                Some(Change {
                    objects: vec![Arc::new(object.clone())],
                    keys,
                    moved_keys,
                    concerns_others: true,
                })
            }
            Event::Init | Event::InitApply(_) => None,
            Event::InitDone => {
                let mut keys: BTreeSet<String> = lookups.by_key.keys().cloned().collect();
                *lookups = Lookups { by_key: HashMap::new(), keys_of: HashMap::new() };
                let objects = self.store.state();
                for object in &objects {
                    lookups.insert(ObjectRef::from_obj(object.as_ref()), (self.keys)(object));
                }
                keys.extend(lookups.by_key.keys().cloned());
                let moved_keys = keys.clone();
                Some(Change { objects, keys, moved_keys, concerns_others: true })
            }
        }
    }
}

impl<K> Lookups<K>
where
    K: Resource<DynamicType = ()> + 'static,
    ObjectRef<K>: Hash + Eq + Clone,
{
    fn insert(&mut self, reference: ObjectRef<K>, keys: Vec<String>) {
        for key in &keys {
            self.by_key.entry(key.clone()).or_default().insert(reference.clone());
        }
        self.keys_of.insert(reference, keys);
    }

    fn remove(&mut self, reference: &ObjectRef<K>) -> Vec<String> {
        let keys = self.keys_of.remove(reference).unwrap_or_default();
        for key in &keys {
            if let Some(references) = self.by_key.get_mut(key) {
                references.remove(reference);
                if references.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        keys
    }
}
