//! Which private SSH key of this user a key is sealed to: the one beside the public key.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, FailureKind};
use crate::private_file;
use crate::resources::ssh_key::{SshKey, type_and_key};
use crate::verbose;

/// Bytes of a public key's file: as much as admission takes.
const PUBLIC_KEY_MAX: u64 = 16 * 1024;

/// The private key's file in `~/.ssh`.
///
/// # Errors
/// [`FailureKind::NoKey`] when there is none.
pub(super) fn of(recipient: &SshKey) -> Result<PathBuf, Failure> {
    let folder = env::home_dir().unwrap_or_default().join(".ssh");
    verbose::note(format_args!("looking in {} for its public key", folder.display()));
    beside_public_key(&folder, &recipient.spec.public_key).ok_or_else(|| {
        let fingerprint = recipient.status.fingerprint.as_deref().unwrap_or("no fingerprint yet");
        Failure::new(
            FailureKind::NoKey,
            format!("no key of yours is the SshKey {} ({fingerprint})", recipient.metadata.name),
            folder.display().to_string(),
            "give the private key with --ssh-key FILE",
        )
    })
}

/// The file beside the `.pub` that holds this public key.
fn beside_public_key(folder: &Path, public_key: &str) -> Option<PathBuf> {
    let wanted = type_and_key(public_key)?;
    let entries = fs::read_dir(folder).ok()?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
        .filter(|path| is_public_key(path, wanted))
        .map(|path| path.with_extension(""))
        .find(|path| path.is_file())
}

fn is_public_key(path: &Path, wanted: (&str, &str)) -> bool {
    let bytes = fs::File::open(path).and_then(|file| private_file::read_bounded(file, PUBLIC_KEY_MAX));
    match bytes {
        Ok(bytes) => std::str::from_utf8(&bytes).ok().and_then(type_and_key) == Some(wanted),
        Err(error) => {
            verbose::note(format_args!("{} is passed over: {error}", path.display()));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn the_private_key_is_the_file_beside_the_public_one_whatever_its_comment() {
        let folder = TempDir::new().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("id_ed25519", "private");
        write("id_ed25519.pub", "ssh-ed25519 AAAAother me@here\n");
        write("work", "private");
        write("work.pub", "ssh-ed25519  AAAAwanted me@work\n");
        write("lost.pub", "ssh-ed25519 AAAAlost me@work\n");
        write("binary.pub", "\0");
        let found = |line: &str| beside_public_key(folder.path(), line);
        assert_eq!(found("ssh-ed25519 AAAAwanted somebody"), Some(folder.path().join("work")));
        assert_eq!(found("ssh-ed25519 AAAAlost"), None, "only its public key is here");
        assert_eq!(found("ssh-rsa AAAAwanted"), None);
        assert_eq!(found(""), None);
    }
}
