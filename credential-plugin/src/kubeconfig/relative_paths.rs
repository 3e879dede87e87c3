//! Relative paths by which the current context's user finds the key. They were written in another folder, and what lies
//! here may be anybody's: made whole, it would stand in the kubeconfig for good. What is typed is meant from here.

use std::path::Path;

use crate::failure::{Failure, FailureKind};
use crate::key_source::{KeyArgs, words};

/// Refuses them among what is taken over from that user.
///
/// # Errors
/// [`FailureKind::Usage`].
pub fn refuse_relative_paths(key: &KeyArgs) -> Result<(), Failure> {
    let program =
        key.key_command.as_deref().and_then(words::split).and_then(|words| words.into_iter().next());
    let found = [
        (
            program.is_some_and(|program| words::is_relative_path(&program)),
            ["--key-command", "key command", "its program's whole path"],
        ),
        (
            key.key_file.as_deref().is_some_and(Path::is_relative),
            ["--key-file", "key file", "its whole path"],
        ),
    ];
    match found.into_iter().find(|(is_relative, _)| *is_relative) {
        None => Ok(()),
        // Not the text itself: a command's arguments may say more than a failure should.
        Some((_, [option, what, remedy])) => Err(Failure::new(
            FailureKind::Usage,
            format!("the context's {what} is a relative path, which means another file in each folder"),
            format!("{option} of the current context's user"),
            format!("give {option} with {remedy}"),
        )),
    }
}
