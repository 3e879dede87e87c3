//! Space that files take on the disk and do not use: etcd reserves two segments of its log, 64 MB each, before it writes
//! to them, and a run of all tests keeps the data of dozens of etcds.

use std::fs::{File, OpenOptions};
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Files below this size, in bytes, are left alone.
const WORTH_IT: u64 = 1 << 20;

/// Gives the zeros at the ends of the files in this folder, and in those within it, back to the disk. Whoever reads them
/// finds the same bytes as before. Nobody may be writing to them.
///
/// # Errors
/// When a file cannot be read or changed. A file system that cannot take space back is no error.
pub(crate) fn release(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            release(&path)?;
        } else if kind.is_file() && entry.metadata()?.len() >= WORTH_IT {
            let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let file = OpenOptions::new().write(true).open(&path)?;
            release_after(&file, written(&content), content.len() as u64)
                .with_context(|| format!("cannot take space back from {}", path.display()))?;
        }
    }
    Ok(())
}

/// Where the zeros at the end begin.
fn written(content: &[u8]) -> u64 {
    content.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1)
}

fn release_after(file: &File, written: u64, length: u64) -> Result<()> {
    if written == length {
        return Ok(());
    }
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(file, hole, written, length - written) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn what_was_written_stays_and_what_was_only_reserved_takes_no_space() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let within = folder.path().join("member");
        std::fs::create_dir(&within)?;
        let said = b"an entry, then zeros, then\0\0\0the last".repeat(1000);
        let (begun, prepared, full) =
            (within.join("begun"), within.join("prepared"), folder.path().join("full"));
        let reserved = vec![0; 8 << 20];
        let lines = [said.as_slice(), &reserved].concat();
        std::fs::write(&begun, &lines)?;
        std::fs::write(&prepared, &reserved)?;
        std::fs::write(&full, vec![1; 2 << 20])?;

        release(folder.path())?;

        assert!(std::fs::read(&begun)? == lines && std::fs::read(&prepared)? == reserved);
        assert!(std::fs::read(&full)? == vec![1; 2 << 20]);
        let taken = |path| Ok::<_, std::io::Error>(std::fs::metadata(path)?.blocks() * 512);
        assert!(taken(&begun)? < 1 << 20 && taken(&prepared)? < 1 << 20, "{}", taken(&begun)?);
        assert!(taken(&full)? >= 2 << 20);
        Ok(())
    }
}
