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

/// Holds our verdict and theirs against the rows; where both accept, the fingerprints must agree.
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
        if let (Ok(key), Some(listed)) = (read, listed) {
            assert_eq!(key.fingerprint(), listed, "fingerprint of {what}");
        }
    }
}
