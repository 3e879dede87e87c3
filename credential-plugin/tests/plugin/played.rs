//! Programs that a test puts in the place of others, such as kubectl: what they print is told in advance.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// What a program does when its first argument is this one, or whatever it is. The first that fits counts.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Play<'a> {
    pub first: Option<&'a str>,
    pub prints: &'a str,
    /// A file, which it prints after that.
    pub shows: Option<&'a Path>,
    /// What it prints on standard error.
    pub says: &'a str,
    /// Whether it never ends.
    pub hangs: bool,
    pub code: i32,
}

/// Puts a program of this name into the folder.
pub(crate) fn program(folder: &Path, name: &str, plays: &[Play]) -> PathBuf {
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    platform::make(&path, plays);
    path
}

/// The arguments with which such a program was called, one call a line; empty when it never was.
pub(crate) fn calls(program: &Path) -> String {
    std::fs::read_to_string(program.with_extension("calls")).unwrap_or_default().replace("\r\n", "\n")
}

/// Lets the name lead to the program.
pub(crate) fn install(program: &Path, name: &Path) {
    platform::install(program, name);
}

#[cfg(unix)]
mod platform {
    use std::fmt::Write as _;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::Command;

    use super::Play;

    pub(super) fn make(path: &Path, plays: &[Play]) {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let calls = path.with_extension("calls");
        let mut script =
            format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >> {}\ncase $1 in\n", quoted(calls.to_str().unwrap()));
        for play in plays {
            let first = play.first.map_or_else(|| "*".to_owned(), quoted);
            let (prints, says) = (quoted(play.prints), quoted(play.says));
            write!(script, "{first}) printf %s {prints}; printf %s {says} >&2").unwrap();
            if let Some(file) = play.shows {
                write!(script, "; /bin/cat {} || exit 1", quoted(file.to_str().unwrap())).unwrap();
            }
            if play.hangs {
                script.push_str("; exec /bin/sleep 600");
            }
            writeln!(script, "; exit {};;", play.code).unwrap();
        }
        script.push_str("esac\n");
        // Written by another process: a file that any process here holds open for writing could not be run.
        let made = Command::new("/bin/sh")
            .args(["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", &script])
            .arg(path)
            .status();
        assert!(made.unwrap().success());
    }

    pub(super) fn install(program: &Path, name: &Path) {
        symlink(program, name).unwrap();
    }
}

/// There is no shell to write a program in, so it is a copy of `examples/played_program.rs`.
#[cfg(windows)]
mod platform {
    use std::fs;
    use std::path::Path;

    use super::Play;

    pub(super) fn make(path: &Path, plays: &[Play]) {
        fs::write(path.with_extension("plays"), serde_json::to_vec(plays).unwrap()).unwrap();
        let plugin = assert_cmd::cargo::cargo_bin("kubectl-keyplane");
        let played = plugin.with_file_name("examples").join("played_program.exe");
        assert!(played.exists(), "run: cargo build -p keyplane-credential-plugin --examples");
        install(&played, path);
    }

    pub(super) fn install(program: &Path, name: &Path) {
        fs::copy(program, name).unwrap();
    }
}
