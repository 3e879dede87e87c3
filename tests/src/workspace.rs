//! Where things are in the checkout: its root, the target directory, the binaries cargo built.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

/// How the programs that the harness runs are built.
const BUILD: &str = "cargo build --workspace --bins --examples";

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's target directory (`CARGO_TARGET_DIR`, or `target` in the root).
#[must_use]
pub fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The directory of the binaries that were built with the program now running, so that a debug test never
/// runs a release server by accident.
///
/// # Errors
/// When the running program's own path is unknown.
pub fn binary_dir() -> Result<PathBuf> {
    let me = std::env::current_exe().context("the path of the running program is unknown")?;
    let dir = me.parent().context("the running program has no directory")?;
    let nested = dir.file_name().is_some_and(|name| name == "deps" || name == "examples");
    Ok(if nested { dir.parent().unwrap_or(dir) } else { dir }.to_path_buf())
}

/// The path of a binary of this workspace, built and not older than its sources.
///
/// # Errors
/// When it is missing or stale; the message says which command builds it. A test of yesterday's binary
/// proves nothing.
pub fn binary(name: &str) -> Result<PathBuf> {
    let dir = binary_dir()?;
    let path = dir.join(name);
    let release = if dir.ends_with("release") { " --release" } else { "" };
    let Ok(built) = path.metadata().and_then(|metadata| metadata.modified()) else {
        bail!("{} is not there: run `{BUILD}{release}` first", path.display());
    };
    if let Some(source) = newer_source(&path, built) {
        bail!("{} is older than {}: run `{BUILD}{release}` first", path.display(), source.display());
    }
    Ok(path)
}

/// A source of the binary that changed after it was built. Cargo lists the sources in a `.d` file beside it.
fn newer_source(binary: &Path, built: SystemTime) -> Option<PathBuf> {
    let listed = std::fs::read_to_string(binary.with_extension("d")).ok()?;
    listed
        .lines()
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(_, sources)| sources.split(' '))
        .map(PathBuf::from)
        .find(|source| source.metadata().and_then(|m| m.modified()).is_ok_and(|changed| changed > built))
}
