//! What a controller should do, as data, and how the difference between wanted and found objects becomes that.

use chrono::{DateTime, Utc};
use k8s_openapi::api::rbac::v1::RoleBinding;
use keyplane_crds::IDENTITIES_NAMESPACE;

use crate::api_key::{Issue, Tombstone};
use crate::child::{Child, ChildKind, ChildRef};
use crate::ownership::{OWNER_UID_LABEL, owner_uid, owner_uid_label};
use crate::readiness::{Readiness, Reason, Status};

/// One step. Steps are done in order; the first that fails ends the attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Put Keyplane's finalizer on the resource, before anything is made for it.
    AddFinalizer,
    /// Make an object that must not exist yet. An object that does exist is not taken over.
    Create(Child),
    /// Make the object with this UID say what is desired.
    Update {
        /// What it should say.
        desired: Child,
        /// The UID it must have.
        uid: String,
        /// The version it must have, where what it is to say depends on what it said: of two plans that were made from
        /// one record of a key's versions, only one is carried out.
        resource_version: Option<String>,
    },
    /// Delete the object, if it still has this UID.
    Delete {
        /// Where it is.
        child: ChildRef,
        /// The UID it must have.
        uid: String,
    },
    /// Take other people's finalizers off a right that is being deleted, if it still has this UID: a `RoleBinding`, an
    /// identity or an anchor goes on working for as long as a finalizer holds it.
    Release {
        /// Where it is.
        child: ChildRef,
        /// The UID it must have.
        uid: String,
    },
    /// Remember a revoked digest, for good.
    Remember(Tombstone),
    /// Make a key and hand it over.
    Issue(Box<Issue>),
    /// Take Keyplane's finalizer off: nothing of the resource's is left.
    RemoveFinalizer,
}

impl Action {
    /// Whether the step gives something, and so must not rest on a stale view of the resource.
    #[must_use]
    pub fn gives(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Update { .. } | Self::Issue(_))
    }
}

/// What to do for a resource. Empty `actions` and an unchanged `status` mean that all is as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<S> {
    /// The steps.
    pub actions: Vec<Action>,
    /// The status to write, where it differs from the stored one.
    pub status: Option<S>,
    /// When time alone will change the verdict.
    pub wake_at: Option<DateTime<Utc>>,
}

impl<S> Plan<S> {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.status.is_none()
    }

    /// A plan of steps that leaves the status alone.
    #[must_use]
    pub fn of(actions: Vec<Action>) -> Self {
        Self { actions, status: None, wake_at: None }
    }
}

/// The status to write, or nothing when the stored one says the same already.
#[must_use]
pub fn changed<S: Status>(wanted: S, stored: Option<&S>) -> Option<S> {
    (stored != Some(&wanted)).then_some(wanted)
}

/// How the found objects become the wanted ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Convergence {
    /// The steps, unwanted objects first: rights are taken before others are given.
    pub actions: Vec<Action>,
    /// Objects that are still being deleted: wanted ones, which can be made only afterwards, and unwanted rights, which
    /// hold until they are gone.
    pub awaited: Vec<ChildRef>,
    /// Wanted objects whose place is held by something that is not ours to change.
    pub conflicts: Vec<ChildRef>,
}

impl Convergence {
    /// Compares what is wanted (in the order it should be made) with what is found.
    #[must_use]
    pub fn between(wanted: &[Child], found: &[Child]) -> Self {
        let mut convergence = Self {
            actions: removal(found, |child| is_wanted(child, wanted)),
            awaited: leaving(found, |child| is_wanted(child, wanted)),
            conflicts: Vec::new(),
        };
        for desired in wanted {
            let reference = desired.reference();
            match found.iter().find(|child| child.reference() == reference) {
                None => convergence.actions.push(Action::Create(desired.clone())),
                Some(child) if child.is_terminating() => {
                    convergence.actions.extend(release(child));
                    convergence.awaited.push(reference);
                }
                Some(child) if is_anothers(child, desired) => convergence.conflicts.push(reference),
                Some(child) if child.must_be_replaced_for(desired) => convergence.actions.extend([
                    Action::Delete { child: reference, uid: child.uid().to_owned() },
                    Action::Create(desired.clone()),
                ]),
                Some(child) if !child.matches(desired) => {
                    convergence.actions.push(Action::Update {
                        desired: desired.clone(),
                        uid: child.uid().to_owned(),
                        resource_version: child
                            .metadata()
                            .resource_version
                            .clone()
                            .filter(|_| child.kind() == ChildKind::ServiceAccount),
                    });
                }
                Some(_) => {}
            }
        }
        convergence
    }

    /// Leaves of what is found only what is `kept`, as it is: nothing is made, and nothing is changed.
    #[must_use]
    pub fn keeping(found: &[Child], kept: impl Fn(&Child) -> bool) -> Self {
        let mut actions = removal(found, &kept);
        actions
            .extend(found.iter().filter(|child| kept(child) && child.is_terminating()).filter_map(release));
        Self { actions, awaited: leaving(found, |_| false), conflicts: Vec::new() }
    }

    /// Whether everything wanted is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.actions.is_empty() && self.awaited.is_empty() && self.conflicts.is_empty()
    }

    /// What is in the way, where something is.
    #[must_use]
    pub fn conflict(&self) -> Option<Readiness> {
        self.conflicts.first().map(|child| {
            Readiness::not_ready(
                Reason::ChildConflict,
                format!(
                    "{child} exists and its label {OWNER_UID_LABEL} names another owner: delete it, Keyplane makes its own"
                ),
            )
        })
    }
}

/// Whether an object belongs to another owner than the one it is wanted for. A name that is derived from a UID
/// decides before any label: else a key of role admin could relabel its own `RoleBinding` and so keep the role that
/// its `ApiKey` no longer grants.
fn is_anothers(found: &Child, desired: &Child) -> bool {
    let owner = owner_uid(found.metadata());
    owner.is_some() && owner != owner_uid(desired.metadata())
}

/// Rights that are still being deleted and are not kept.
fn leaving(found: &[Child], is_kept: impl Fn(&Child) -> bool) -> Vec<ChildRef> {
    let leaving = found.iter().filter(|child| is_right(child) && child.is_terminating());
    leaving.filter(|child| !is_kept(child)).map(Child::reference).collect()
}

/// The deletion of every found object that is not kept, in the order in which rights end soonest.
fn removal(found: &[Child], is_kept: impl Fn(&Child) -> bool) -> Vec<Action> {
    let mut unwanted: Vec<&Child> = found.iter().filter(|child| !is_kept(child)).collect();
    unwanted.sort_by_key(|child| (deletion_rank(child.kind()), child.reference()));
    unwanted
        .into_iter()
        .filter_map(|child| {
            if child.is_terminating() {
                return release(child);
            }
            Some(Action::Delete { child: child.reference(), uid: child.uid().to_owned() })
        })
        .collect()
}

fn is_wanted(child: &Child, wanted: &[Child]) -> bool {
    wanted.iter().any(|desired| desired.reference() == child.reference())
}

/// Whether somebody can do something for as long as the object exists.
fn is_right(child: &Child) -> bool {
    matches!(child.kind(), ChildKind::RoleBinding | ChildKind::Secret | ChildKind::ServiceAccount)
}

/// Frees a right that is being deleted from finalizers. Keyplane puts none on what it makes.
fn release(child: &Child) -> Option<Action> {
    let is_held = child.metadata().finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
    (is_held && is_right(child))
        .then(|| Action::Release { child: child.reference(), uid: child.uid().to_owned() })
}

/// `RoleBinding`s first (Forbidden at the next request), then the anchor (its tokens are Unauthorized within the
/// API server's 10 s cache), then the ServiceAccount.
fn deletion_rank(kind: ChildKind) -> u8 {
    match kind {
        ChildKind::RoleBinding => 0,
        ChildKind::Secret => 1,
        ChildKind::ServiceAccount => 2,
        ChildKind::NetworkPolicy | ChildKind::ResourceQuota | ChildKind::LimitRange => 3,
        ChildKind::Namespace => 4,
    }
}

/// The steps for objects whose owner is gone: rights and identities are deleted. Namespaces hold people's work, so
/// one whose owner is gone is left to the administrator; and a `RoleBinding` that only has one of our names, but
/// neither our label nor an identity of ours among its subjects, is somebody else's.
#[must_use]
pub fn plan_orphans(children: &[Child]) -> Vec<Action> {
    let swept: Vec<Child> = children
        .iter()
        .filter(|child| match child {
            Child::ServiceAccount(_) | Child::Secret(_) => true,
            Child::RoleBinding(binding) => is_own_binding(binding),
            _ => false,
        })
        .cloned()
        .collect();
    removal(&swept, |_| false)
}

fn is_own_binding(binding: &RoleBinding) -> bool {
    owner_uid_label(&binding.metadata).is_some()
        || binding
            .subjects
            .iter()
            .flatten()
            .any(|subject| subject.namespace.as_deref() == Some(IDENTITIES_NAMESPACE))
}

/// Taking a resource away: what it made is deleted, and when nothing of it is left, the finalizer goes.
#[must_use]
pub fn teardown(found: &[Child], has_finalizer: bool) -> Vec<Action> {
    if !found.is_empty() {
        removal(found, |_| false)
    } else if has_finalizer {
        vec![Action::RemoveFinalizer]
    } else {
        Vec::new()
    }
}
