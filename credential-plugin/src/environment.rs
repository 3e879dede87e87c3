//! The environment variables that stand for arguments. An empty one counts as unset.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::failure::{Failure, FailureKind};

/// The exchange's URL.
pub const URL_VARIABLE: &str = "KEYPLANE_URL";
/// The path of a PEM file with the exchange's CA.
pub const CA_VARIABLE: &str = "KEYPLANE_CA_FILE";
/// The folder of the token cache.
pub const CACHE_VARIABLE: &str = "KEYPLANE_CACHE_DIR";
/// The folder of the keys that `login` keeps.
pub const CONFIG_VARIABLE: &str = "KEYPLANE_CONFIG_DIR";
/// The API key. A kubeconfig's `exec.env` arrives in it too.
pub const KEY_VARIABLE: &str = "KEYPLANE_API_KEY";
/// The command that prints the API key.
pub const KEY_COMMAND_VARIABLE: &str = "KEYPLANE_KEY_COMMAND";

/// Variables by name; a value may be a key.
pub type Variables = BTreeMap<String, Zeroizing<String>>;

/// What a kubeconfig's `exec.env` adds for this process.
static ADDED: OnceLock<Variables> = OnceLock::new();

/// Adds variables, which win over the process's own: as a kubeconfig's `exec.env` does when kubectl starts the plugin.
/// A command that stands in for that start adds them once; what comes later is not added.
pub fn add(variables: Variables) {
    // The first addition is the one that counts.
    let _ = ADDED.set(variables);
}

/// The variable as text.
///
/// # Errors
/// [`FailureKind::Usage`] when it is not text.
pub fn text(variable: &str) -> Result<Option<String>, Failure> {
    value(variable).map(OsString::into_string).transpose().map_err(|_| {
        Failure::new(
            FailureKind::Usage,
            "the environment variable is not text",
            variable,
            "set it anew, or unset it",
        )
    })
}

/// The variable as a path.
#[must_use]
pub fn path(variable: &str) -> Option<PathBuf> {
    value(variable).map(PathBuf::from)
}

/// The variable as it is.
#[must_use]
pub fn value(variable: &str) -> Option<OsString> {
    let added = ADDED.get().and_then(|variables| variables.get(variable));
    let value = added.map(|value| OsString::from(value.as_str())).or_else(|| env::var_os(variable));
    value.filter(|value| !value.is_empty())
}
