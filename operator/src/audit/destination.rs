//! Where lines go: a file that may be moved away, or stdout.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// An open destination.
#[derive(Debug)]
pub(super) struct Destination {
    file: File,
    /// `None` is stdout, which cannot be opened anew.
    path: Option<PathBuf>,
    /// The last write ended within a line, which is not to be taken for the beginning of the next.
    is_torn: bool,
}

impl Destination {
    /// Stdout for `-`, else the file, which is made with mode 0600 where it is missing, and appended to.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            // A descriptor of its own: what is written is not held back in the buffer of the standard library.
            let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            return Ok(Self { file, path: None, is_torn: false });
        }
        Ok(Self { file: append_to(path)?, path: Some(path.to_owned()), is_torn: false })
    }

    /// Writes whole lines. After an error any of them may be there or not, but none that comes later is damaged.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.follow_rotation()?;
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    written += bytes;
                    self.is_torn = rest.get(bytes.saturating_sub(1)) != Some(&b'\n');
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.file.flush()
    }

    /// Opens the file anew when its name is another file's by now, or nobody's: it was rotated. Asked before each write,
    /// it needs no signal, and no line is acknowledged that went to a file which had been moved away before.
    fn follow_rotation(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let open = self.file.metadata()?;
        let is_same = match std::fs::metadata(path) {
            Ok(named) => (named.dev(), named.ino()) == (open.dev(), open.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !is_same {
            self.file = append_to(path)?;
            self.is_torn = false;
        }
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}
