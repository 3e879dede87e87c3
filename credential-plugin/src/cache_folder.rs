//! Where the platform keeps what can be made again.

use std::env;
use std::path::PathBuf;

use crate::environment::{self, CACHE_VARIABLE};

/// The folder of the token cache: the given one, else `KEYPLANE_CACHE_DIR`, else `keyplane` in the user's cache folder; none when the system
/// names no such folder.
#[must_use]
pub fn locate(given: Option<PathBuf>) -> Option<PathBuf> {
    given
        .or_else(|| environment::path(CACHE_VARIABLE))
        .or_else(|| user_cache().map(|folder| folder.join("keyplane")))
}

/// `$XDG_CACHE_HOME` (ignored unless absolute, as its specification asks), else `~/.cache`.
#[cfg(not(windows))]
fn user_cache() -> Option<PathBuf> {
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))
}

/// `%LOCALAPPDATA%`, which does not roam.
#[cfg(windows)]
fn user_cache() -> Option<PathBuf> {
    absolute("LOCALAPPDATA")
}

fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}
