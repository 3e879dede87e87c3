//! No core dump: it would hold the key, in a file that nobody asked for.

/// Lets this process, and those it starts, leave no core dump. Where the system does not let it, nothing changes.
pub fn forbid() {
    platform::forbid();
}

#[cfg(unix)]
mod platform {
    use rustix::process::{Resource, Rlimit, setrlimit};

    pub(super) fn forbid() {
        // Lowering a limit is always allowed; one that is 0 already stays so.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}

#[cfg(not(unix))]
mod platform {
    pub(super) fn forbid() {}
}
