//! What a namespace may be called.

use thiserror::Error;

/// The longest name of a core Namespace (RFC 1123 label).
pub(super) const LONGEST_KUBERNETES_NAME: usize = 63;
/// The longest name of a Namespace of ours, with the shortest account's name and a '-' before it.
const LONGEST_NAME: usize = LONGEST_KUBERNETES_NAME - 2;

/// A name that no namespace of the account can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a namespace's name has 1 to {longest} characters, because the account's name and '-' come before it in Kubernetes: \
     lower-case letters, digits and '-', beginning and ending with a letter or digit"
)]
pub struct InvalidNamespaceName {
    /// How many characters the name may have in this account.
    pub longest: usize,
}

/// Whether a namespace of this account may have this name: what admission asks for, and that the core Namespace's name,
/// `<account>-<name>`, is one.
///
/// # Errors
/// When it may not.
pub fn check_name(account: &str, name: &str) -> Result<(), InvalidNamespaceName> {
    let longest = LONGEST_KUBERNETES_NAME.saturating_sub(account.len() + 1).min(LONGEST_NAME);
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_valid = name.len() <= longest
        && name.bytes().all(|byte| is_alphanumeric(byte) || byte == b'-')
        && name.bytes().next().is_some_and(is_alphanumeric)
        && name.bytes().next_back().is_some_and(is_alphanumeric);
    if is_valid { Ok(()) } else { Err(InvalidNamespaceName { longest }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_label_that_leaves_room_for_the_accounts() {
        let account = "a".repeat(50);
        for (account, name, is_valid) in [
            ("acme", "web".to_owned(), true),
            ("acme", "9".to_owned(), true),
            ("acme", "a--b-1".to_owned(), true),
            ("a", "x".repeat(61), true),
            ("a", "x".repeat(62), false),
            (&account, "x".repeat(12), true),
            (&account, "x".repeat(13), false),
            ("acme", String::new(), false),
            ("acme", "-web".to_owned(), false),
            ("acme", "web-".to_owned(), false),
            ("acme", "Web".to_owned(), false),
            ("acme", "we_b".to_owned(), false),
            ("acme", "we.b".to_owned(), false),
            ("acme", "wéb".to_owned(), false),
            ("acme", "we b".to_owned(), false),
        ] {
            assert_eq!(check_name(account, &name).is_ok(), is_valid, "{name}");
        }
        assert!(check_name(&account, "").unwrap_err().to_string().contains("1 to 12 characters"));
    }
}
