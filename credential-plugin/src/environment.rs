//! The environment variables that stand for arguments. An empty one counts as unset.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::failure::{Failure, FailureKind};

/// The exchange's URL.
pub const URL_VARIABLE: &str = "KEYPLANE_URL";
/// The path of a PEM file with the exchange's CA.
pub const CA_VARIABLE: &str = "KEYPLANE_CA_FILE";
/// The folder of the token cache.
pub const CACHE_VARIABLE: &str = "KEYPLANE_CACHE_DIR";

/// The variable as text.
///
/// # Errors
/// [`FailureKind::Usage`] when it is not text.
pub fn text(variable: &str) -> Result<Option<String>, Failure> {
    set(variable).map(OsString::into_string).transpose().map_err(|_| {
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
    set(variable).map(PathBuf::from)
}

fn set(variable: &str) -> Option<OsString> {
    env::var_os(variable).filter(|value| !value.is_empty())
}
