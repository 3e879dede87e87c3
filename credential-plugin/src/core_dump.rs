//! No core dump: it would hold the key, in a file that nobody asked for.
//!
//! The limit of its size is what the programs that this one starts inherit. Linux ignores that limit where dumps go to a
//! program (core(5)), so there the process is also made one of which no dump is taken at all. Then nobody but root may trace
//! it either, or read its memory.

/// Lets this process leave no core dump, nor, as far as a limit does that, those it starts. Where the system does not let
/// it, nothing changes.
pub fn forbid() {
    platform::forbid();
}

#[cfg(target_os = "linux")]
mod platform {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};

    pub(super) fn forbid() {
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        super::limit::set_to_nothing();
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
mod platform {
    pub(super) fn forbid() {
        super::limit::set_to_nothing();
    }
}

#[cfg(not(unix))]
mod platform {
    pub(super) fn forbid() {}
}

#[cfg(unix)]
mod limit {
    use rustix::process::{Resource, Rlimit, setrlimit};

    pub(super) fn set_to_nothing() {
        // Lowering a limit is always allowed; one that is 0 already stays so.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}
