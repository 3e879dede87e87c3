//! Encrypts a key to an SSH public key, with age (<https://age-encryption.org/v1>).

use std::io::Write;
use std::iter;

use age::armor::{ArmoredWriter, Format};
use age::{Encryptor, ssh};
use keyplane_core::key_format::PlaintextKey;
use keyplane_core::readiness::Reason;

use super::error::ReconcileError;

/// The key as age armour, which only the holder of the SSH private key can read.
///
/// # Errors
/// When age cannot seal to this SSH key.
pub(super) fn seal(key: &PlaintextKey, public_key: &str) -> Result<String, ReconcileError> {
    let recipient: ssh::Recipient = public_key.parse().map_err(|_| unsupported("age does not take it"))?;
    let sealed = || -> Result<Vec<u8>, String> {
        let encryptor = Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient))
            .map_err(|error| error.to_string())?;
        let armor =
            ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).map_err(|error| error.to_string())?;
        let mut writer = encryptor.wrap_output(armor).map_err(|error| error.to_string())?;
        writer.write_all(key.expose().as_bytes()).map_err(|error| error.to_string())?;
        let armor = writer.finish().map_err(|error| error.to_string())?;
        armor.finish().map_err(|error| error.to_string())
    };
    let bytes = sealed().map_err(|error| unsupported(&error))?;
    String::from_utf8(bytes).map_err(|_| unsupported("the armour is not text"))
}

fn unsupported(why: &str) -> ReconcileError {
    ReconcileError::Undeliverable {
        reason: Reason::RecipientUnsupported,
        message: format!(
            "the key cannot be sealed to the SshKey that delivery.sealedTo names: {why}; name a key of type ssh-ed25519 or \
             ssh-rsa"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use keyplane_core::key_format::KeyType;

    use super::*;

    // Made for this test with ssh-keygen; it opens nothing else.
    const PRIVATE_KEY: &str = include_str!("../../tests/sealing/id_ed25519");
    const PUBLIC_KEY: &str = include_str!("../../tests/sealing/id_ed25519.pub");

    #[test]
    fn the_holder_of_the_ssh_key_reads_the_key_and_the_armour_does_not_show_it() {
        let key = PlaintextKey::generate(&KeyType::account(), getrandom::fill).unwrap();
        let sealed = seal(&key, PUBLIC_KEY.trim()).unwrap();
        assert!(sealed.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
        assert!(!sealed.contains(key.expose()));
        let identity = ssh::Identity::from_buffer(PRIVATE_KEY.as_bytes(), None).unwrap();
        let decryptor = age::Decryptor::new(age::armor::ArmoredReader::new(sealed.as_bytes())).unwrap();
        let mut text = String::new();
        decryptor
            .decrypt(iter::once(&identity as &dyn age::Identity))
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, key.expose());
    }

    #[test]
    fn what_age_cannot_seal_to_is_told_with_the_remedy() {
        let key = PlaintextKey::generate(&KeyType::account(), getrandom::fill).unwrap();
        let error = seal(&key, "ecdsa-sha2-nistp256 AAAA").unwrap_err().to_string();
        assert!(error.contains("ssh-ed25519"), "{error}");
    }
}
