//! Decrypts what Keyplane sealed: age armour, to the holder of an SSH private key.

use std::fs::File;
use std::io::{self, Read as _};
use std::iter;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use age::armor::ArmoredReader;
use age::secrecy::SecretString;
use age::ssh::Identity;
use age::{Callbacks, DecryptError, Decryptor};
use keyplane_core::key_format::PlaintextKey;
use zeroize::Zeroizing;

use crate::failure::{Failure, FailureKind};
use crate::hidden_prompt;
use crate::private_file;

/// Bytes of a private SSH key's file: an RSA key of 16384 bits takes 13 KiB.
const PRIVATE_KEY_MAX: u64 = 64 * 1024;
/// Bytes of what is sealed: far above any key.
const SEALED_MAX: u64 = 4096;

/// The private key in the file, whose passphrase is asked for when it is needed.
///
/// # Errors
/// [`FailureKind::NoKey`] when it cannot be read, is open to other users, or is of a type that age cannot use.
fn private_key(path: &Path) -> Result<Identity, Failure> {
    let place = path.display().to_string();
    let failed = |what: String, remedy: &str| Failure::new(FailureKind::NoKey, what, &place, remedy);
    let unreadable = |error: io::Error| {
        failed(
            format!("the private SSH key cannot be read: {error}"),
            "give --ssh-key the private key's file, not the .pub beside it",
        )
    };
    let file = File::open(path).map_err(unreadable)?;
    let is_open = private_file::is_open_to_others(&file.metadata().map_err(unreadable)?);
    let bytes = private_file::read_bounded(file, PRIVATE_KEY_MAX).map_err(unreadable)?;
    let identity = Identity::from_buffer(bytes.as_slice(), Some(place.clone())).map_err(|_| {
        failed(
            "this is no private SSH key that can be read".to_owned(),
            "give --ssh-key a private key of OpenSSH, not the .pub beside it",
        )
    })?;
    // Said of private keys only: a public key may be open to everybody.
    if is_open {
        let remedy = format!("run: chmod 600 {place}");
        return Err(failed("the private SSH key is open to other users".to_owned(), &remedy));
    }
    match identity {
        Identity::Unsupported(_) => Err(failed(
            "a private SSH key of this kind cannot decrypt".to_owned(),
            "use a key of type ssh-ed25519 or ssh-rsa in OpenSSH's format (ssh-keygen -p converts an older one); keys on \
             hardware and in an ssh-agent cannot decrypt",
        )),
        usable => Ok(usable),
    }
}

/// The key that is sealed in this armour, opened with the private SSH key in this file.
///
/// # Errors
/// [`FailureKind::NoKey`] when the private key cannot be used or does not open it, or what is in it is no key.
pub(super) fn unseal(armour: &str, private_key_file: &Path) -> Result<PlaintextKey, Failure> {
    let failed =
        |what: &str, remedy: &str| Failure::new(FailureKind::NoKey, what, "status.sealedKey", remedy);
    let terminal = AskOnTerminal::default();
    let opened = |error: DecryptError| match error {
        // age passes over a private key whose passphrase it is not given.
        DecryptError::NoMatchingKeys if !terminal.is_silent() => failed(
            "the key is sealed to another SSH key",
            "give --ssh-key the private key of the SshKey that spec.delivery.sealedTo names",
        ),
        DecryptError::KeyDecryptionFailed | DecryptError::NoMatchingKeys => failed(
            "the private SSH key was not opened: no passphrase was given, or a wrong one",
            "run the command on a terminal and give the passphrase of the private SSH key",
        ),
        other => failed(
            &format!("what is sealed cannot be decrypted: {other}"),
            "rotate the key: kubectl-keyplane apikeys rotate",
        ),
    };
    let identity = private_key(private_key_file)?.with_callbacks(terminal.clone());
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(armour.as_bytes())).map_err(opened)?;
    let reader = decryptor.decrypt(iter::once(&identity as &dyn age::Identity)).map_err(opened)?;
    // The capacity is the limit's: growing would leave copies of the key behind, unwiped.
    let mut text = Zeroizing::new(String::with_capacity(4096));
    reader.take(SEALED_MAX).read_to_string(&mut text).map_err(|error| opened(DecryptError::Io(error)))?;
    PlaintextKey::parse(text.trim_end_matches(['\r', '\n'])).map_err(|error| {
        failed(
            &format!("what is sealed is no key: {error}"),
            "rotate the key: kubectl-keyplane apikeys rotate",
        )
    })
}

/// Asks for a passphrase on the terminal, without showing it.
#[derive(Clone, Default)]
struct AskOnTerminal {
    silent: Arc<AtomicBool>,
}

impl AskOnTerminal {
    /// Whether a passphrase was asked for, and nobody could answer.
    fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }
}

impl Callbacks for AskOnTerminal {
    fn display_message(&self, _: &str) {}

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        let answer = hidden_prompt::ask(&format!("{description}: "));
        self.silent.store(answer.is_err(), Ordering::Relaxed);
        answer.ok().map(|answer| SecretString::from(answer.as_str()))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    use std::fs;
    use std::io::Write as _;

    use age::Encryptor;
    use age::armor::{ArmoredWriter, Format};
    use age::ssh::Recipient;
    use tempfile::TempDir;

    use super::*;
    use crate::new_key;

    // The pair with which the controller's sealing is tested; it opens nothing else.
    const PRIVATE_KEY: &str = include_str!("../../../../operator/tests/sealing/id_ed25519");
    const PUBLIC_KEY: &str = include_str!("../../../../operator/tests/sealing/id_ed25519.pub");

    fn seal(text: &str) -> String {
        let recipient: Recipient = PUBLIC_KEY.trim().parse().unwrap();
        let encryptor = Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient)).unwrap();
        let armour = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).unwrap();
        let mut writer = encryptor.wrap_output(armour).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        String::from_utf8(writer.finish().unwrap().finish().unwrap()).unwrap()
    }

    fn open(armour: &str) -> Result<PlaintextKey, Failure> {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("id_ed25519");
        new_private(&file, PRIVATE_KEY);
        unseal(armour, &file)
    }

    fn new_private(file: &Path, text: &str) {
        private_file::create_new(file).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn the_holder_of_the_private_key_reads_the_key() {
        let key = new_key::make().unwrap();
        assert_eq!(open(&seal(key.expose())).unwrap().expose(), key.expose());
        assert_eq!(open(&seal(&format!("{}\n", key.expose()))).unwrap().expose(), key.expose());
    }

    #[test]
    fn what_is_no_key_or_was_cut_or_changed_is_told_and_not_shown() {
        let key = new_key::make().unwrap();
        let mistyped = key.expose().replace(|c: char| c.is_ascii_digit(), "z");
        let sealed = seal(key.expose());
        for armour in [
            seal(&mistyped),
            seal("a secret"),
            seal(""),
            seal(&key.expose().repeat(1000)),
            sealed.get(..sealed.len() / 2).unwrap().to_owned(),
            sealed.replace("AGE ENCRYPTED", "OTHER"),
            String::new(),
        ] {
            let failure = open(&armour).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::NoKey, "{failure}");
            assert!(!failure.to_string().contains("a secret"), "{failure}");
        }
    }

    #[test]
    fn what_is_no_private_key_is_told() {
        let folder = TempDir::new().unwrap();
        let sealed = seal("x");
        for (name, text) in [("public", PUBLIC_KEY), ("empty", ""), ("other", "no key")] {
            let file = folder.path().join(name);
            new_private(&file, text);
            let failure = unseal(&sealed, &file).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::NoKey);
            assert!(failure.to_string().contains("--ssh-key"), "{failure}");
        }
        assert!(
            unseal(&sealed, &folder.path().join("missing"))
                .unwrap_err()
                .to_string()
                .contains("cannot be read")
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_private_key_that_others_can_read_is_refused_as_ssh_does() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("id");
        new_private(&file, PRIVATE_KEY);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let failure = unseal(&seal("x"), &file).unwrap_err().to_string();
        assert!(failure.contains("open to other users") && failure.contains("chmod 600"), "{failure}");
    }
}
