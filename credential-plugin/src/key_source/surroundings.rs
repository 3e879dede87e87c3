//! What a key command finds around it: the variables and the current folder. The same text may work in one shell and fail
//! in another, which lacks a variable.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::environment::KEY_VARIABLE;
use crate::exec_protocol::EXEC_INFO_VARIABLE;
use crate::field_digest::field_digest;

/// Variables that say nothing of the shell or script that starts the command: what a client tells about its one call, the
/// program that a shell has just started, and the key, which the command does not get.
const OF_ONE_CALL: [&str; 3] = [EXEC_INFO_VARIABLE, "_", KEY_VARIABLE];

/// The digest of this process's surroundings.
#[must_use]
pub fn digest() -> String {
    digest_of(env::vars_os(), env::current_dir().ok().as_deref())
}

/// The SHA-256, in hexadecimal, of these variables in whatever order and of the current folder.
fn digest_of(variables: impl IntoIterator<Item = (OsString, OsString)>, folder: Option<&Path>) -> String {
    let mut variables: Vec<_> = variables
        .into_iter()
        .filter(|(name, _)| !OF_ONE_CALL.iter().any(|of_one_call| name == OsStr::new(of_one_call)))
        .collect();
    variables.sort_unstable();
    let folder = folder.map(Path::as_os_str).unwrap_or_default();
    let fields = variables.iter().flat_map(|(name, value)| [name.as_os_str(), value.as_os_str()]);
    field_digest(std::iter::once(folder).chain(fields).map(OsStr::as_encoded_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)], folder: &str) -> String {
        digest_of(variables.iter().map(|(name, value)| (name.into(), value.into())), Some(Path::new(folder)))
    }

    #[test]
    fn neither_the_order_nor_what_is_of_one_call_makes_other_surroundings() {
        let own = of(&[("HOME", "/me"), ("SESSION", "1")], "/me");
        assert_eq!(own, of(&[("SESSION", "1"), ("HOME", "/me")], "/me"));
        for name in OF_ONE_CALL {
            assert_eq!(own, of(&[("HOME", "/me"), (name, "other"), ("SESSION", "1")], "/me"), "{name}");
        }
    }

    #[test]
    fn each_variable_and_the_folder_make_other_surroundings() {
        let all = [
            of(&[("A", "1"), ("B", "2")], "/me"),
            of(&[("A", "1"), ("B", "2")], "/other"),
            of(&[("A", "1")], "/me"),
            of(&[("A", "1"), ("B", "")], "/me"),
            of(&[("A", "2"), ("B", "1")], "/me"),
            of(&[("A", "1B2")], "/me"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all.get(..at).unwrap_or_default().contains(one), "{at}");
        }
    }
}
