//! One digest of several fields: for names of files, and for comparing what is not to be kept. Nothing in a URL or a command
//! can leave a folder by such a name, or meet another's.

use sha2::{Digest as _, Sha256};

/// The SHA-256 of these fields in this order, in hexadecimal.
#[must_use]
pub fn field_digest(fields: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hash = Sha256::new();
    for field in fields {
        let field = field.as_ref();
        // The length first: no two lists of fields run together into the same bytes.
        hash.update(field.len().to_be_bytes());
        hash.update(field);
    }
    format!("{:x}", base16ct::HexDisplay(&hash.finalize()))
}
