//! Files that only their owner may read.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Writes a file with mode 0600 and replaces it in one step, so that a reader never sees half of it.
///
/// # Errors
/// When the directory cannot be written to.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = Path::new(&fresh);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(fresh)
        .and_then(|mut file| file.write_all(content.as_ref()))
        .and_then(|()| std::fs::rename(fresh, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
