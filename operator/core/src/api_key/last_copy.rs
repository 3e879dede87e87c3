//! The last copy of a key's record is not deleted before the record stands elsewhere, or is not needed any more.
//!
//! Which versions a key had, since when, and which of them ended, no declaration says: the identity carries it, and each
//! anchor a copy. When somebody deleted the identity, the anchors' copies are the last ones. Rights go first all the
//! same: without its identity an anchor's tokens are refused anyway.

use super::record::KeyRecord;
use crate::child::{Child, ChildKind, ChildRef};
use crate::plan::Action;

/// Puts the deletion of anchors and identities after everything else, where no identity that stays carries the record:
/// after the step that makes the identity again, and after those that remember what ended. While an identity is being
/// deleted and is to be made again, which only the next plan can do, the others are left alone.
pub(super) fn kept(actions: Vec<Action>, children: &[Child], is_identity_wanted: bool) -> Vec<Action> {
    let mut identities = children.iter().filter(|child| child.kind() == ChildKind::ServiceAccount);
    let is_leaving = identities.clone().any(Child::is_terminating);
    let is_carried =
        identities.any(|child| !child.is_terminating() && KeyRecord::of(child.metadata()).is_some());
    if is_carried || KeyRecord::among(children).is_none() {
        return actions;
    }
    // One that is made anew stays where it is: the identity comes before it.
    let made: Vec<ChildRef> = actions.iter().filter_map(created).collect();
    let (last, mut actions): (Vec<Action>, Vec<Action>) = actions
        .into_iter()
        .partition(|action| ended_carrier(action).is_some_and(|child| !made.contains(child)));
    if !(is_leaving && is_identity_wanted) {
        actions.extend(last);
    }
    actions
}

fn created(action: &Action) -> Option<ChildRef> {
    if let Action::Create(child) = action { Some(child.reference()) } else { None }
}

/// What the step deletes, where that may carry a record. Freeing what is being deleted already waits for nothing.
fn ended_carrier(action: &Action) -> Option<&ChildRef> {
    match action {
        Action::Delete { child, .. }
            if matches!(child.kind, ChildKind::Secret | ChildKind::ServiceAccount) =>
        {
            Some(child)
        }
        _ => None,
    }
}
