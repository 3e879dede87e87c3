//! Where the platform keeps what can be made again.

use std::env;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser as _};

use crate::environment::{self, CACHE_VARIABLE};

/// Where tokens are cached.
#[derive(Args, Clone, Debug)]
pub struct CacheArgs {
    /// Folder of the token cache [default: `KEYPLANE_CACHE_DIR`, else keyplane in the user's cache folder]
    #[arg(long, value_name = "FOLDER", value_parser = PathBufValueParser::new().try_map(whole))]
    pub cache_dir: Option<PathBuf>,
    /// Neither read nor write the token cache
    #[arg(long)]
    pub no_cache: bool,
}

impl CacheArgs {
    /// The folder, or none when there shall be no cache or the system names no folder.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        if self.no_cache { None } else { locate(self.cache_dir.clone()) }
    }
}

/// The folder of the token cache: the given one, else `KEYPLANE_CACHE_DIR`, else `keyplane` in the user's cache folder;
/// none when the system names no such folder, or the variable a relative one.
fn locate(given: Option<PathBuf>) -> Option<PathBuf> {
    match given.or_else(|| environment::path(CACHE_VARIABLE)) {
        Some(folder) => whole(folder).ok(),
        None => user_cache().map(|folder| folder.join("keyplane")),
    }
}

/// Tokens in a folder of whoever made the one that one stands in would be theirs to read, and to give.
fn whole(folder: PathBuf) -> Result<PathBuf, &'static str> {
    if folder.is_absolute() { Ok(folder) } else { Err("give the whole path of the folder") }
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
