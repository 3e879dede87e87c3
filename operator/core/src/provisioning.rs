//! How a resource comes to stand on a core Namespace of its own: the same for an Account and a Namespace.

use k8s_openapi::api::core::v1::Namespace as CoreNamespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::child::Child;
use crate::ownership::FINALIZER;
use crate::plan::{Action, Convergence};
use crate::readiness::{Readiness, Reason};

/// What to do, and how far it is.
pub(crate) struct Provisioning {
    /// The steps.
    pub(crate) actions: Vec<Action>,
    /// How far it is.
    pub(crate) readiness: Readiness,
    /// Whether a resource that is Ready stays so: something beside what it stands on is being added or mended.
    pub(crate) is_mending: bool,
}

/// Whether the resource holds Keyplane's finalizer.
pub(crate) fn has_finalizer(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// Compares the `wanted` objects, the core Namespace first, with what is `found`. `place` names the core Namespace
/// for people; `ready` is the verdict when all is there.
pub(crate) fn provision(
    metadata: &ObjectMeta,
    core: Option<&CoreNamespace>,
    wanted: &[Child],
    found: &[Child],
    place: &str,
    ready: Readiness,
) -> Provisioning {
    let needs_finalizer = !has_finalizer(metadata);
    if core.is_some_and(|core| core.metadata.deletion_timestamp.is_some()) {
        // Nothing can be made in a namespace that is being deleted.
        let text = format!("the {place} is being deleted; it is made anew when it is gone");
        return Provisioning {
            actions: needs_finalizer.then_some(Action::AddFinalizer).into_iter().collect(),
            readiness: Readiness::not_ready(Reason::Provisioning, text),
            is_mending: false,
        };
    }
    let convergence = Convergence::between(wanted, found);
    let is_complete = convergence.is_complete() && !needs_finalizer;
    let (readiness, is_mending) = match convergence.conflict() {
        Some(conflict) => (conflict, false),
        None if is_complete => (ready, false),
        None => (Readiness::not_ready(Reason::Provisioning, format!("the {place} is being set up")), true),
    };
    let finalizer = needs_finalizer.then_some(Action::AddFinalizer);
    Provisioning {
        actions: finalizer.into_iter().chain(convergence.actions).collect(),
        readiness,
        is_mending,
    }
}
