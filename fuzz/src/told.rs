//! What holds of every failure that is told.

use keyplane_credential_plugin::failure::Failure;

/// One line, of bounded length, without control characters, that says what to do and shows no key.
///
/// # Panics
/// At a breach.
pub fn check_line(failure: &Failure) {
    let line = failure.to_string();
    assert!(!line.contains(char::is_control), "{line:?}");
    assert!(line.chars().count() < 1300, "{}", line.len());
    assert!(line.contains("; "), "{line:?}");
    let mut words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let shows_key = words.any(|word| {
        word.split_once('_').is_some_and(|(kind, body)| {
            kind.ends_with(|c: char| c.is_ascii_lowercase()) && body.len() >= 49 && !body.contains('_')
        })
    });
    assert!(!shows_key, "{line:?}");
}
