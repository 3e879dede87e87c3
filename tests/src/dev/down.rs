//! `make down`: stops what `make up` started, and nothing else.

use anyhow::{Context as _, Result};

use super::detached;
use super::state::{self, State};
use super::up::STOP_ORDER;
use crate::progress::say;

/// Stops the processes of `make up` and removes `target/dev`. An existing cluster is left as it is, with
/// Keyplane's resources in it.
///
/// # Errors
/// When a process does not end.
pub async fn down() -> Result<()> {
    let _alone = tokio::task::spawn_blocking(state::lock).await??;
    let dir = state::dir();
    if !dir.exists() {
        say("Nothing is up.");
        return Ok(());
    }
    for name in STOP_ORDER {
        if detached::stop(&dir, name).await? {
            say(format!("Stopped {name}."));
        }
    }
    // A state that cannot be read is no reason to keep what it described.
    let existing = State::load(&dir).ok().flatten().and_then(|state| state.context);
    std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    if let Some(context) = existing {
        say(format!("The cluster of the context {context} still holds Keyplane's resources and RBAC."));
    }
    Ok(())
}
