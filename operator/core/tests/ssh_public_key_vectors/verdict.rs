//! A row of a table: a text, our verdict on it, and that of `ssh-keygen`.

use keyplane_core::ssh_public_key::{SshKeyType, SshPublicKey, SshPublicKeyError};

use crate::ssh_keygen;

pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) text: String,
    ours: Result<SshKeyType, SshPublicKeyError>,
    is_listed_by_ssh_keygen: bool,
}

/// A key that both take.
pub(crate) fn accepted(what: &'static str, text: String, key_type: SshKeyType) -> Row {
    Row { what, text, ours: Ok(key_type), is_listed_by_ssh_keygen: true }
}

/// What neither takes.
pub(crate) fn refused(what: &'static str, text: String, fault: SshPublicKeyError) -> Row {
    Row { what, text, ours: Err(fault), is_listed_by_ssh_keygen: false }
}

/// What `ssh-keygen -l` lists and we refuse.
pub(crate) fn stricter(what: &'static str, text: String, fault: SshPublicKeyError) -> Row {
    Row { what, text, ours: Err(fault), is_listed_by_ssh_keygen: true }
}

/// Holds our verdict and theirs against the rows. Where both accept, the fingerprints must agree, and the canonical line
/// must be the same key to both; where we refuse, the message must tell what to do and repeat nothing.
pub(crate) fn check(rows: &[Row]) {
    for Row { what, text, ours, is_listed_by_ssh_keygen } in rows {
        let read = SshPublicKey::parse(text);
        assert_eq!(
            read.as_ref().map(SshPublicKey::key_type),
            ours.as_ref().copied(),
            "our verdict on {what}"
        );
        let listed = ssh_keygen::fingerprint(text);
        let can_list = !text.starts_with("ssh-dss") || ssh_keygen::knows_dss();
        assert_eq!(
            listed.is_some(),
            *is_listed_by_ssh_keygen && can_list,
            "whether ssh-keygen lists {what}; the rows are from OpenSSH 9.2"
        );
        match (read, listed) {
            (Ok(key), Some(listed)) => {
                assert_eq!(key.fingerprint(), listed, "fingerprint of {what}");
                let relisted = ssh_keygen::fingerprint(key.canonical());
                assert_eq!(relisted, Some(listed), "fingerprint of the canonical line of {what}");
            }
            (Ok(_), None) => {}
            (Err(error), _) => check_message(what, text, error),
        }
    }
}

/// Says what is wrong, and after it what to do; of the text it holds nothing but the name of a type.
fn check_message(what: &str, text: &str, error: SshPublicKeyError) {
    let told = error.to_string();
    assert!(told.contains("; ") || told.contains(": "), "what to do about {what}: {told}");
    let is_name =
        |word: &str| word.starts_with("ssh-") || word.contains("-sha2-") || word.contains("@openssh.com");
    let mut words = text.split_whitespace().filter(|word| word.len() >= 8 && !is_name(word));
    assert!(!words.any(|word| told.contains(word)), "the message repeats a part of {what}");
}
