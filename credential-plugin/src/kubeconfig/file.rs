//! A kubeconfig as a file: how it is read and replaced, and where its backup goes.

use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::failure::{Failure, FailureKind};
use crate::kubeconfig::document::Document;
use crate::private_file::{self, Durability};

/// Links that are followed to a file.
const LINKS_MAX: usize = 16;

/// A file's path with something after its name.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Where what a kubeconfig held before its last change is kept: one file, beside the name that the user gave. Where that
/// is a link into a folder which is shared or versioned, the secrets in it do not go there a second time.
#[must_use]
pub fn backup_path(path: &Path) -> PathBuf {
    beside(path, ".keyplane-backup")
}

/// What the path links to, be it there or not; else the path itself.
#[must_use]
pub fn real_path(path: &Path) -> PathBuf {
    let mut real = path.to_owned();
    // Not `canonicalize`: a link may lead to what is not there yet.
    for _ in 0..LINKS_MAX {
        match fs::read_link(&real) {
            Ok(link) => real = real.parent().unwrap_or(Path::new("")).join(link),
            Err(_) => break,
        }
    }
    in_real_folder(&real)
}

/// The path by its folder's one true name, so that two paths of the same file are the same.
#[must_use]
pub fn in_real_folder(config: &Path) -> PathBuf {
    let folder = config.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs::canonicalize(folder), config.file_name()) {
        (Ok(folder), Some(name)) => platform::as_people_write_it(folder).join(name),
        _ => config.to_owned(),
    }
}

/// A kubeconfig file as it was read.
#[derive(Debug)]
pub struct ReadFile {
    /// Its path, as it was given.
    pub path: PathBuf,
    /// What is in it; empty when there is none.
    pub document: Document,
    bytes: Zeroizing<String>,
    metadata: Option<Metadata>,
}

impl ReadFile {
    /// Reads a kubeconfig, or finds that there is none.
    ///
    /// # Errors
    /// [`FailureKind::File`] when it cannot be read or is not YAML.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let place = path.display().to_string();
        let (bytes, metadata) = match read(path) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Zeroizing::default(), None),
            Err(error) => return Err(failed("read", &error, path)),
        };
        Ok(Self { path: path.to_owned(), document: Document::parse(bytes.clone(), &place)?, bytes, metadata })
    }

    /// Whether there is a file.
    #[must_use]
    pub const fn exists(&self) -> bool {
        self.metadata.is_some()
    }

    /// Whether others may read or change it.
    #[must_use]
    pub fn is_open_to_others(&self) -> bool {
        self.metadata.as_ref().is_some_and(private_file::is_open_to_others)
    }

    /// Whether this text is what is in it.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        self.exists() && self.bytes.as_str() == text
    }

    /// Puts the text in the file's place in one step, after what was there went to [`backup_path`], mode 0600. The
    /// file's mode and owner stay; a new one is of mode 0600, and so is one that is to be `private`. A link stays a link.
    /// Says where the backup is, if there was something to keep.
    ///
    /// # Errors
    /// [`FailureKind::File`]; the file is then untouched.
    pub fn replace(&self, text: &str, private: bool) -> Result<Option<PathBuf>, Failure> {
        let backup = (self.exists() && !self.bytes.is_empty()).then(|| backup_path(&self.path));
        if let Some(backup) = &backup {
            // Where the kubeconfig is a link, that is another folder than the one of what it links to.
            private_file::remove_begun(private_file::folder_of(backup));
            private_file::replace(backup, self.bytes.as_bytes(), Durability::Durable)
                .map_err(|error| failed("backed up", &error, backup))?;
        }
        replace(&real_path(&self.path), text, self.metadata.as_ref(), private)
            .map_err(|error| failed("written", &error, &self.path))?;
        Ok(backup)
    }
}

fn read(path: &Path) -> io::Result<(Zeroizing<String>, Option<Metadata>)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    Ok((io::read_to_string(file).map(Zeroizing::new)?, Some(metadata)))
}

fn replace(target: &Path, text: &str, old: Option<&Metadata>, private: bool) -> io::Result<()> {
    let folder = private_file::folder_of(target);
    private_file::remove_begun(folder);
    let mut file = private_file::begin(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    // Last: what is left of a process that was killed before is known by its mode.
    if let Some(old) = old {
        platform::keep_owner(file.as_file(), old);
        if !private {
            file.as_file().set_permissions(old.permissions())?;
        }
    }
    private_file::persist(file, target)
}

/// Makes the folder in which a kubeconfig is to be.
///
/// # Errors
/// [`FailureKind::File`].
pub fn ensure_folder_of(path: &Path) -> Result<(), Failure> {
    match real_path(path).parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => fs::create_dir_all(folder).map_err(|error| failed("made", &error, path)),
        None => Ok(()),
    }
}

fn failed(what: &str, error: &io::Error, path: &Path) -> Failure {
    Failure::new(
        FailureKind::File,
        format!("the kubeconfig cannot be {what}: {error}"),
        path.display().to_string(),
        "make it a file that you may read, in a folder that you may write, or give another with --merge-into",
    )
}

#[cfg(unix)]
mod platform {
    use std::fs::{File, Metadata};
    use std::os::unix::fs::{MetadataExt as _, fchown};
    use std::path::PathBuf;

    /// Root that merges into another's kubeconfig leaves it theirs. Nobody else may give files away, nor needs to.
    pub(super) fn keep_owner(file: &File, old: &Metadata) {
        let is_same = |new: &Metadata| (new.uid(), new.gid()) == (old.uid(), old.gid());
        if !file.metadata().is_ok_and(|new| is_same(&new)) {
            let _ = fchown(file, Some(old.uid()), Some(old.gid()));
        }
    }

    pub(super) const fn as_people_write_it(folder: PathBuf) -> PathBuf {
        folder
    }
}

#[cfg(not(unix))]
mod platform {
    use std::fs::{File, Metadata};
    use std::path::PathBuf;

    pub(super) fn keep_owner(_: &File, _: &Metadata) {}

    /// A true name begins with `\\?\`, which PowerShell and many programs do not read.
    pub(super) fn as_people_write_it(folder: PathBuf) -> PathBuf {
        let text = folder.to_str().and_then(|text| text.strip_prefix(r"\\?\"));
        match text.map(|text| (text.strip_prefix(r"UNC\"), text)) {
            Some((Some(share), _)) => PathBuf::from(format!(r"\\{share}")),
            Some((None, text)) if text.get(1..3) == Some(r":\") => PathBuf::from(text),
            _ => folder,
        }
    }
}
