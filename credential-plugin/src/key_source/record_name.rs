//! File names for what belongs to an exchange: nothing in a URL or a command can leave the folder, or meet another's.

use crate::token::way;

/// The SHA-256 of the fields, in hexadecimal.
#[must_use]
pub(crate) fn record_name(fields: &[&str]) -> String {
    way::digest(fields)
}
