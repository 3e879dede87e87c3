//! Which of an account's Namespaces are ahead of another.
//!
//! A core Namespace that is being made is seen a moment after it was decided on; whoever is looked at in that moment must
//! count it, or the account gets one too many. So who was given a place is remembered until it is gone.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use keyplane_core::limits::namespace_limit;
use keyplane_core::ownership::kubernetes_name;
use keyplane_core::seniority::Seniority;
use keyplane_crds::Namespace;
use kube::ResourceExt;

use super::cluster_view::{ClusterView, home_key};

/// The UIDs of the Namespaces that were given a place, by home namespace.
#[derive(Default)]
pub(super) struct NamespacePlaces(Mutex<HashMap<String, HashSet<String>>>);

impl ClusterView {
    /// How many of the account's other namespaces take up room: those that stand or were given a place, and older ones
    /// that wait. One that has room is given a place.
    pub(crate) fn namespaces_ahead(&self, namespace: &Namespace) -> u32 {
        let home = namespace.namespace().unwrap_or_default();
        let uid = |namespace: &Namespace| namespace.metadata.uid.clone().unwrap_or_default();
        // Held until the place is given: of two that are looked at at once, one is first.
        let mut places = self.namespace_places.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.namespaces.find(&home_key(&home));
        let given = places.entry(home.clone()).or_default();
        let there: HashSet<String> = all.iter().map(|namespace| uid(namespace)).collect();
        given.retain(|uid| there.contains(uid));
        let own = Seniority::of(&namespace.metadata);
        let ahead = all.iter().filter(|other| {
            let place = Seniority::of(&other.metadata);
            let is_live = other.metadata.deletion_timestamp.is_none();
            let is_coming = is_live && (place < own || given.contains(&uid(other)));
            place != own && (self.stands(other) || is_coming)
        });
        let ahead = u32::try_from(ahead.count()).unwrap_or(u32::MAX);
        let limit = self.account_of(&home).map(|account| namespace_limit(&account)).unwrap_or_default();
        // Whose name is taken gets nothing, and takes nobody's place.
        let is_taken =
            self.core_namespaces.get(None, &kubernetes_name(namespace)).is_some() && !self.stands(namespace);
        if is_taken {
            given.remove(own.uid());
        } else if ahead < limit && there.contains(own.uid()) {
            given.insert(own.uid().to_owned());
        }
        if given.is_empty() {
            places.remove(&home);
        }
        ahead
    }
}
