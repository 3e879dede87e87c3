//! The last copy of a key's record is not deleted before the record stands elsewhere, or is not needed any more.
//!
//! Which versions a key had, since when, and which of them ended, no declaration says: the identity carries it, and each
//! anchor a copy. When somebody deleted the identity, the newest of the anchors' copies is the last one. Rights go first
//! all the same: the bindings at once, and without its identity an anchor's tokens are refused anyway.

use super::record::KeyRecord;
use crate::child::{Child, ChildKind, ChildRef};
use crate::plan::Action;

/// Puts the deletion of the anchors that carry the newest copy after everything else, where no identity that stays has
/// the record: after the step that makes the identity again, and after those that remember what ended. If that `must_wait`,
/// since the record is needed beyond this plan, those anchors are left alone for now.
pub(super) fn kept(actions: Vec<Action>, children: &[Child], must_wait: bool) -> Vec<Action> {
    let Some(newest) = KeyRecord::among(children) else { return actions };
    let is_deleted = |child: &Child| {
        let place = child.reference();
        child.is_terminating() || actions.iter().any(|action| deleted(action) == Some(&place))
    };
    let mut identities = children.iter().filter(|child| child.kind() == ChildKind::ServiceAccount);
    if identities.any(|child| !is_deleted(child) && sequence(child) >= Some(newest.sequence)) {
        return actions;
    }
    let anchors = || children.iter().filter(|child| child.kind() == ChildKind::Secret);
    let highest = anchors().filter_map(sequence).max();
    // One that is made anew stays where it is: the identity comes before it.
    let last: Vec<ChildRef> = anchors()
        .filter(|anchor| highest.is_some() && sequence(anchor) == highest)
        .map(Child::reference)
        .filter(|place| !actions.iter().any(|action| is_creation_of(action, place)))
        .collect();
    let (postponed, mut actions): (Vec<Action>, Vec<Action>) =
        actions.into_iter().partition(|action| deleted(action).is_some_and(|place| last.contains(place)));
    if !must_wait {
        actions.extend(postponed);
    }
    actions
}

fn sequence(child: &Child) -> Option<u64> {
    KeyRecord::of(child.metadata()).map(|record| record.sequence)
}

fn deleted(action: &Action) -> Option<&ChildRef> {
    if let Action::Delete { child, .. } = action { Some(child) } else { None }
}

fn is_creation_of(action: &Action, place: &ChildRef) -> bool {
    matches!(action, Action::Create(child) if child.reference() == *place)
}
