//! Programs on PATH, as kubectl finds them.

use std::env;
use std::path::{Path, PathBuf};

/// Every program of this name, in PATH's order. Relative folders are left out, as kubectl refuses what is found there.
pub(super) fn all(name: &str) -> Vec<PathBuf> {
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(&file))
        .filter(|program| platform::is_program(program))
        .collect();
    found.dedup();
    found
}

/// The program that this command starts: itself when it is a path, else the first on PATH.
pub(super) fn resolve(command: &str) -> Option<PathBuf> {
    let path = Path::new(command);
    if path.components().count() > 1 {
        return platform::is_program(path).then(|| path.to_owned());
    }
    all(platform::without_ending(command)).into_iter().next()
}

#[cfg(unix)]
mod platform {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    pub(super) fn is_program(path: &Path) -> bool {
        fs::metadata(path)
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    }

    pub(super) const fn without_ending(command: &str) -> &str {
        command
    }
}

#[cfg(not(unix))]
mod platform {
    use std::path::Path;

    const ENDING: &str = "exe";

    /// Its ending may be left out.
    pub(super) fn is_program(path: &Path) -> bool {
        path.is_file() || path.with_added_extension(ENDING).is_file()
    }

    pub(super) fn without_ending(command: &str) -> &str {
        let path = Path::new(command);
        let has_ending = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(ENDING));
        if has_ending { path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(command) } else { command }
    }
}
