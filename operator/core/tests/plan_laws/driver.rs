//! Carries out plans against the model as `operator/src/controllers/reconcile.rs` and `orphans.rs` do against the
//! real server, and can stop between any two writes.

use std::sync::Arc;

use keyplane_core::ownership::FINALIZER;
use keyplane_core::plan::{Action, changed, plan_orphans};
use keyplane_core::readiness::{Readiness, Reason};
use keyplane_crds::{Account, ApiKey, Namespace, SshKey};

use crate::lawful;
use crate::model::{Cluster, Refusal};
use crate::observe::{leftovers, named_owners};
use crate::resource::{Place, Resource};

/// How many rounds everything may take to settle: an account, its namespaces and its keys follow each other, and a
/// deletion goes the same way back.
const MOST_ROUNDS: usize = 16;

/// Something that is looked at: a resource, or the UID of an owner that may have left something.
#[derive(Clone, Debug)]
enum Item {
    Account(Place),
    Namespace(Place),
    ApiKey(Place),
    SshKey(Place),
    Leftovers(String),
}

/// How many writes may still be made before the controller is killed.
#[derive(Debug)]
pub struct Budget {
    left: usize,
    /// What was written, or tried.
    done: Vec<String>,
}

impl Budget {
    pub fn of(writes: usize) -> Self {
        Self { left: writes, done: Vec::new() }
    }

    /// Takes one write from the budget; false when the controller is dead.
    pub fn spend(&mut self, what: impl FnOnce() -> String) -> bool {
        let lives = self.left > 0;
        if lives {
            self.left -= 1;
            self.done.push(what());
        }
        lives
    }
}

/// Looks at everything, again and again, until nothing is left to do. The seed decides about the order. Returns the
/// number of writes.
pub fn converge(cluster: &mut Cluster, seed: u64) -> usize {
    let mut spent = 0;
    let mut last = Vec::new();
    for round in 0..MOST_ROUNDS {
        let mut budget = Budget::of(usize::MAX);
        look_at_all(cluster, seed.wrapping_add(round as u64), &mut budget);
        let before = cluster.clone();
        cluster.collect_namespaces();
        if budget.done.is_empty() && before.is_same(cluster) {
            return spent;
        }
        spent += budget.done.len();
        last = budget.done;
        cluster.pass(1);
    }
    panic!("not settled after {MOST_ROUNDS} rounds; the last did {last:#?} in {cluster:#?}");
}

/// Looks at everything once, in an order that the seed decides, until the budget is spent.
pub fn look_at_all(cluster: &mut Cluster, seed: u64, budget: &mut Budget) {
    let mut items: Vec<Item> = cluster.accounts.keys().cloned().map(Item::Account).collect();
    items.extend(cluster.namespaces.keys().cloned().map(Item::Namespace));
    items.extend(cluster.api_keys.keys().cloned().map(Item::ApiKey));
    items.extend(cluster.ssh_keys.keys().cloned().map(Item::SshKey));
    items.extend(named_owners(cluster).into_iter().map(Item::Leftovers));
    let mut state = seed | 1;
    let mut keyed: Vec<(u64, Item)> = items
        .into_iter()
        .map(|item| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33, item)
        })
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    for (_, item) in keyed {
        match item {
            Item::Account(place) => attempt::<Account>(cluster, &place, budget),
            Item::Namespace(place) => attempt::<Namespace>(cluster, &place, budget),
            Item::ApiKey(place) => attempt::<ApiKey>(cluster, &place, budget),
            Item::SshKey(place) => attempt::<SshKey>(cluster, &place, budget),
            Item::Leftovers(uid) => sweep(cluster, &uid, budget),
        }
    }
}

/// Observes, plans and executes for one resource. The first step that fails ends the attempt.
fn attempt<R: Resource>(cluster: &mut Cluster, place: &Place, budget: &mut Budget) {
    let Some(resource) = R::table(cluster).get(place).cloned().map(Arc::new) else {
        return;
    };
    let now = cluster.now;
    let plan = R::plan(cluster, &resource, now);
    lawful::order(&plan.actions);
    lawful::freed(&plan.actions);
    lawful::finalizer_first(resource.metadata(), &plan.actions);
    for action in &plan.actions {
        lawful::step(cluster, resource.metadata(), action);
        // Issuing is several writes, each of which it counts itself.
        if !matches!(action, Action::Issue(_)) && !budget.spend(|| format!("{place:?}: {action:?}")) {
            return;
        }
        match carry_out(cluster, resource.as_ref(), action, budget) {
            Ok(()) => {}
            Err(Refusal::Conflict) => return,
            Err(Refusal::Rejected) => {
                let readiness = Readiness::not_ready(Reason::ApplyFailed, "the API server refused");
                let status = resource.refused_status(&readiness, now);
                if changed(status.clone(), resource.status()).is_some()
                    && budget.spend(|| format!("{place:?}: {status:?}"))
                {
                    cluster.write_status::<R>(place, resource.metadata().uid.as_deref(), &status);
                }
                return;
            }
        }
    }
    // A resource whose finalizers were written is newer than the one that was seen.
    let is_newer =
        plan.actions.iter().any(|action| matches!(action, Action::AddFinalizer | Action::RemoveFinalizer));
    if let Some(status) = plan.status.as_ref().filter(|_| !is_newer)
        && budget.spend(|| format!("{place:?}: {status:?}"))
    {
        cluster.write_status::<R>(place, resource.metadata().uid.as_deref(), status);
    }
}

fn carry_out<R: Resource>(
    cluster: &mut Cluster,
    resource: &R,
    action: &Action,
    budget: &mut Budget,
) -> Result<(), Refusal> {
    let place = Place::of(resource.metadata());
    let mut finalizers = resource.metadata().finalizers.clone().unwrap_or_default();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    match action {
        Action::AddFinalizer => {
            finalizers.push(FINALIZER.to_owned());
            cluster.set_finalizers::<R>(&place, finalizers);
            Ok(())
        }
        Action::RemoveFinalizer => {
            cluster.set_finalizers::<R>(&place, finalizers);
            Ok(())
        }
        Action::Create(child) => cluster.create_child(child),
        Action::Update { desired, uid, resource_version } => {
            cluster.update_child(desired, uid, resource_version.as_deref())
        }
        Action::Delete { child, uid } => cluster.delete_child(child, uid),
        Action::Release { child, uid } => {
            cluster.release_child(child, uid);
            Ok(())
        }
        Action::Remember(tombstone) => {
            cluster.tombstones.insert(tombstone.digest.clone());
            Ok(())
        }
        Action::Issue(issue) => crate::issuing::issue(cluster, issue, budget),
    }
}

fn sweep(cluster: &mut Cluster, uid: &str, budget: &mut Budget) {
    let actions = plan_orphans(&leftovers(cluster, uid));
    lawful::order(&actions);
    for action in actions {
        if !budget.spend(|| format!("sweep: {action:?}")) {
            return;
        }
        let done = match &action {
            Action::Delete { child, uid } => cluster.delete_child(child, uid),
            Action::Release { child, uid } => {
                cluster.release_child(child, uid);
                Ok(())
            }
            _ => panic!("a sweep only takes away: {action:#?}"),
        };
        if done.is_err() {
            return;
        }
    }
}
