//! File names for what belongs to an exchange: nothing in a URL or a command can leave the folder, or meet another's.

use sha2::{Digest as _, Sha256};

/// The SHA-256 of the fields, in hexadecimal.
#[must_use]
pub(crate) fn record_name(fields: &[&str]) -> String {
    let mut hash = Sha256::new();
    for field in fields {
        // The length first: no two lists of fields run together into the same bytes.
        hash.update(field.len().to_be_bytes());
        hash.update(field);
    }
    format!("{:x}", base16ct::HexDisplay(&hash.finalize()))
}
