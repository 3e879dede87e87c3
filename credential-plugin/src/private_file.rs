//! Which files are private to their owner, and how private files are read and written.
//!
//! On Unix: mode 0600, folders 0700, and for what the plugin wrote itself also the owner and no symbolic link.
//! Elsewhere the profile folder's access list protects them, and nothing is checked here.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::bounded_read;
use crate::verbose;

/// How the names of files begin and end that are being written: as nobody calls a file of their own.
const BEGUN: [&str; 2] = [".keyplane-", ".begun"];
/// Letters and digits between.
const BEGUN_RANDOM: usize = 12;
/// How long after its last change nobody writes such a file any more. It has at most some kilobytes, so that even a disk
/// that hangs is done within seconds; the rest is for a file server whose clock is not ours.
const WRITTEN_WITHIN: Duration = Duration::from_mins(2);
/// Names in a folder that are looked at.
const NAMES: usize = 4096;

/// Whether somebody other than the file's owner may read or change it.
#[must_use]
pub fn is_open_to_others(metadata: &Metadata) -> bool {
    platform::mode_bits(metadata, 0o077)
}

/// Reads a file that this user wrote: never through a symbolic link, never one that is another's or open to others,
/// never more than `limit` bytes.
///
/// # Errors
/// Whatever the system says, and [`io::ErrorKind::PermissionDenied`] or [`io::ErrorKind::InvalidData`] for a file
/// that breaks the rules above.
pub fn read_own(path: &Path, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut options = OpenOptions::new();
    options.read(true);
    platform::never_follow(&mut options);
    let file = options.open(path)?;
    let metadata = own(&file)?;
    bounded_read::read(file, metadata.len(), limit)
}

/// Opens what somebody else named, to read it: a regular file, itself or behind a link. Nothing else is waited for, as a
/// pipe without a writer would be for ever.
///
/// # Errors
/// Whatever the system says, and [`io::ErrorKind::InvalidInput`] for what is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    platform::never_wait(&mut options);
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
    }
}

/// Opens a file that holds nothing and is there to be locked, or makes it, mode 0600; by the rules of [`read_own`].
/// What stands in its place and breaks them is taken away first.
///
/// # Errors
/// Whatever the system says, and [`io::ErrorKind::PermissionDenied`] for what could not be taken away.
pub fn open_to_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Both: NFS grants a shared lock only to readers and an exclusive one only to writers.
    options.read(true).write(true).create(true).truncate(false);
    platform::owner_only(&mut options);
    platform::never_follow(&mut options);
    let open = || {
        let file = options.open(path)?;
        own(&file)?;
        Ok(file)
    };
    open().or_else(|_: io::Error| {
        make_way(path);
        open()
    })
}

/// Takes away what stands in the place of a file that the plugin writes: a link, a pipe, a file of somebody else's
/// making. A folder with something in it is not deleted but moved aside.
pub fn make_way(path: &Path) {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    // What stays in the way is met again where the file is opened.
    let _ = if is_folder {
        fs::remove_dir(path).or_else(|_| fs::rename(path, path.with_added_extension("aside")))
    } else {
        fs::remove_file(path)
    };
}

fn own(file: &File) -> io::Result<Metadata> {
    let metadata = file.metadata()?;
    if is_own(&metadata) { Ok(metadata) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Whether it is a regular file of this user that nobody else may read or change.
fn is_own(metadata: &Metadata) -> bool {
    metadata.is_file() && !is_open_to_others(metadata) && platform::is_mine(metadata)
}

/// Writes over a file of no more bytes that this user wrote, or makes it, mode 0600; by the rules of [`read_own`].
///
/// It is for small notes that may be lost: on ext4 it takes a fraction of the time of
/// [`replace`], whose rename starts a write to the disk.
///
/// # Errors
/// Whatever the system says, and [`io::ErrorKind::PermissionDenied`] or [`io::ErrorKind::InvalidData`] for a file
/// that breaks those rules.
pub fn overwrite_own(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    platform::owner_only(&mut options);
    platform::never_follow(&mut options);
    let mut file = options.open(path)?;
    let metadata = own(&file)?;
    if usize::try_from(metadata.len()).map_or(true, |len| len > bytes.len()) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    file.write_all(bytes)
}

/// Reads to the end, at most `limit` bytes.
///
/// # Errors
/// Whatever the system says, and [`io::ErrorKind::InvalidData`] for more than `limit` bytes.
pub fn read_bounded(file: File, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let len = file.metadata()?.len();
    bounded_read::read(file, len, limit)
}

/// Makes a new file of mode 0600.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when there is one, else whatever the system says.
pub fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    platform::owner_only(&mut options);
    options.open(path)
}

/// Makes the folder and its missing parents, mode 0700.
///
/// # Errors
/// Whatever the system says, and [`io::ErrorKind::PermissionDenied`] when the folder is another's or others may write
/// in it. An existing folder's mode is left as it is.
pub fn ensure_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    platform::owner_only_folder(&mut builder);
    builder.create(path)?;
    let metadata = fs::metadata(path)?;
    if platform::is_mine(&metadata) && !platform::mode_bits(&metadata, 0o022) {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// Removes a file that is of no use any more, as far as that can be done, and tells it with `--verbose`.
pub fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => verbose::note(format_args!("removed {}", path.display())),
        Err(error) => verbose::note(format_args!("{} is not removed: {error}", path.display())),
    }
}

/// Whether a write reaches the disk before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It may be lost with the power: for what can be made again.
    Disposable,
    /// It reaches the disk before the old content is replaced.
    Durable,
}

/// Puts the bytes in the place of the file, mode 0600, in one step: a reader sees the old or the new, never a part.
///
/// # Errors
/// Whatever the system says; the old file is then untouched.
pub fn replace(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let mut file = begin(folder_of(path))?;
    file.write_all(bytes)?;
    if durability == Durability::Durable {
        file.as_file().sync_all()?;
    }
    persist(file, path)
}

/// The folder that a file is in.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file of mode 0600 in the folder, to be [put](persist) in the place of another when it is whole.
///
/// # Errors
/// Whatever the system says.
pub fn begin(folder: &Path) -> io::Result<NamedTempFile> {
    let [before, after] = BEGUN;
    // tempfile makes its files with mode 0600.
    tempfile::Builder::new().prefix(before).rand_bytes(BEGUN_RANDOM).suffix(after).tempfile_in(folder)
}

/// Removes what others of this user [began](begin) in the folder and never ended, since they were killed or the
/// power was lost: it may hold a key. Whoever was only stopped for so long cannot put its file in place any more, and
/// says so.
pub fn remove_begun(folder: &Path) {
    let is_begun = |name: &str| {
        let [before, after] = BEGUN;
        name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some_and(|random| {
            random.len() == BEGUN_RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric())
        })
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().take(NAMES) {
        if !entry.file_name().to_str().is_some_and(is_begun) {
            continue;
        }
        let path = entry.path();
        let is_left = fs::symlink_metadata(&path).is_ok_and(|metadata| {
            is_own(&metadata)
                && metadata
                    .modified()
                    .is_ok_and(|written| written.elapsed().is_ok_and(|age| age > WRITTEN_WITHIN))
        });
        if is_left {
            remove(&path);
        }
    }
}

/// Puts a file that is ready in the place of another, or where there is none, in one step.
///
/// # Errors
/// Whatever the system says; the old file is then untouched.
pub fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    platform::persist(file, path)
}

#[cfg(unix)]
mod platform {
    use std::fs::{DirBuilder, Metadata, OpenOptions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
    use std::path::Path;

    use rustix::fs::OFlags;
    use tempfile::NamedTempFile;

    pub(super) fn mode_bits(metadata: &Metadata, bits: u32) -> bool {
        metadata.mode() & bits != 0
    }

    pub(super) fn is_mine(metadata: &Metadata) -> bool {
        metadata.uid() == rustix::process::geteuid().as_raw()
    }

    pub(super) fn never_follow(options: &mut OpenOptions) {
        // NONBLOCK: a pipe left in the file's place must not hang kubectl.
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    }

    pub(super) fn never_wait(options: &mut OpenOptions) {
        options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    }

    pub(super) fn owner_only(options: &mut OpenOptions) {
        options.mode(0o600);
    }

    pub(super) fn owner_only_folder(builder: &mut DirBuilder) {
        builder.mode(0o700);
    }

    pub(super) fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
        file.persist(path)?;
        Ok(())
    }
}

#[cfg(not(unix))]
mod platform {
    use std::fs::{self, DirBuilder, Metadata, OpenOptions};
    use std::io;
    use std::path::Path;
    use std::thread;
    use std::time::Duration;

    use tempfile::NamedTempFile;

    /// How often to try while another program has the file open in a way that lets nobody replace it.
    const ATTEMPTS: u32 = 25;
    /// Between two attempts: the system tells nobody when the file is closed. Half a second in all.
    const PAUSE: Duration = Duration::from_millis(20);
    /// `ERROR_SHARING_VIOLATION`
    const SHARING_VIOLATION: i32 = 32;

    pub(super) fn mode_bits(_: &Metadata, _: u32) -> bool {
        false
    }

    pub(super) fn is_mine(_: &Metadata) -> bool {
        true
    }

    pub(super) fn never_follow(_: &mut OpenOptions) {}

    pub(super) fn never_wait(_: &mut OpenOptions) {}

    pub(super) fn owner_only(_: &mut OpenOptions) {}

    pub(super) fn owner_only_folder(_: &mut DirBuilder) {}

    /// The standard library's renaming replaces a file that somebody reads, as tempfile's does not.
    pub(super) fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
        let (file, ready) = file.keep()?;
        drop(file);
        let is_held = |error: &io::Error| {
            let is_open = error.kind() == io::ErrorKind::PermissionDenied && !path.is_dir();
            is_open || error.raw_os_error() == Some(SHARING_VIOLATION)
        };
        let mut renamed = fs::rename(&ready, path);
        for _ in 1..ATTEMPTS {
            if !renamed.as_ref().is_err_and(is_held) {
                break;
            }
            thread::sleep(PAUSE);
            renamed = fs::rename(&ready, path);
        }
        if renamed.is_err() {
            let _ = fs::remove_file(&ready);
        }
        renamed
    }
}
