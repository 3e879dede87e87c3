//! The values that arguments take, checked as admission would check them.

use chrono::{DateTime, Utc};

/// A name of an `ApiKey`.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn key_name(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        !label.starts_with('-')
            && !label.ends_with('-')
            && !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if text.len() > 64 {
        Err("Key names are limited to 64 characters".to_owned())
    } else if text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err("a name holds lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit".to_owned())
    }
}

/// A name of a namespace.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn namespace_name(text: &str) -> Result<String, String> {
    if text.len() > 63 || text.contains('.') {
        Err("a namespace's name has up to 63 lower-case letters, digits and '-'".to_owned())
    } else {
        key_name(text)
    }
}

/// What people call a key.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn display_name(text: &str) -> Result<String, String> {
    if text.chars().count() > 64 {
        Err("Key names are limited to 64 characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// A time of RFC 3339.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn time(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_| "give a time such as 2030-01-01T00:00:00Z".to_owned())
}

/// An id: a UUID.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn uuid(text: &str) -> Result<String, String> {
    let groups: Vec<&str> = text.split('-').collect();
    let sound = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()));
    if sound {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("an id is a UUID, such as the metadata.uid of the Namespace resource".to_owned())
    }
}
