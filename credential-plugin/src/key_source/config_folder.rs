//! Where the platform keeps what belongs to a user and cannot be made again.

use std::env;
use std::path::PathBuf;

use crate::environment::{self, CONFIG_VARIABLE};

/// The folder of kept keys: `KEYPLANE_CONFIG_DIR`, else `keyplane` in the user's config folder; none when the system names no
/// such folder. A relative one is none: whoever made the folder that one stands in would say which keys are kept.
#[must_use]
pub fn config_folder() -> Option<PathBuf> {
    match environment::path(CONFIG_VARIABLE) {
        Some(folder) => Some(folder).filter(|folder| folder.is_absolute()),
        None => platform::user_config().map(|folder| folder.join("keyplane")),
    }
}

/// Why there is no [`config_folder`], for people.
pub const NONE_IS_NAMED: &str = platform::NONE_IS_NAMED;

fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(not(windows))]
mod platform {
    use std::path::PathBuf;

    use super::absolute;

    pub(super) const NONE_IS_NAMED: &str =
        "neither KEYPLANE_CONFIG_DIR nor XDG_CONFIG_HOME nor HOME is set to a whole path";

    /// `$XDG_CONFIG_HOME` (ignored unless absolute, as its specification asks), else `~/.config`.
    pub(super) fn user_config() -> Option<PathBuf> {
        absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))
    }
}

#[cfg(windows)]
mod platform {
    use std::path::PathBuf;

    use super::absolute;

    pub(super) const NONE_IS_NAMED: &str =
        "neither KEYPLANE_CONFIG_DIR nor LOCALAPPDATA is set to a whole path";

    /// `%LOCALAPPDATA%`: a key must not roam with the profile, as it would in `%APPDATA%`.
    pub(super) fn user_config() -> Option<PathBuf> {
        absolute("LOCALAPPDATA")
    }
}
