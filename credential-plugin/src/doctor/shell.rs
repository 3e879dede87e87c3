//! Words of a command as a person pastes them into a shell.

use std::path::Path;

use crate::kubeconfig::current::ContextArgs;

/// A word, in quotes where a shell needs them.
pub(super) fn quoted(word: &str) -> String {
    platform::quoted(word)
}

/// A path, in quotes where a shell needs them.
pub(super) fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// kubectl with the kubeconfig that is examined.
pub(super) fn kubectl(args: &ContextArgs) -> String {
    match &args.kubeconfig {
        Some(path) => format!("kubectl --kubeconfig {}", quoted_path(path)),
        None => "kubectl".to_owned(),
    }
}

#[cfg(not(windows))]
mod platform {
    use std::borrow::Cow;

    pub(super) fn quoted(word: &str) -> String {
        shlex::try_quote(word).map_or_else(|_| "?".to_owned(), Cow::into_owned)
    }
}

#[cfg(windows)]
mod platform {
    pub(super) use crate::typed_command::word as quoted;
}
