//! The shell file that points a terminal at the development environment.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{private_file, workspace};

/// A directory with `kubectl`, `kubectl-keyplane` and what completes it, for the front of `PATH`: the kubectl that belongs to the
/// server, whatever else the machine has.
///
/// # Errors
/// When the plugin is not built or the directory cannot be written to.
pub(crate) fn tools(dir: &Path, kubectl: &Path) -> Result<PathBuf> {
    let bin = dir.join("bin");
    std::fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
    let plugin = workspace::binary("kubectl-keyplane")?;
    for (name, program) in [("kubectl", kubectl), ("kubectl-keyplane", plugin.as_path())] {
        let link = bin.join(name);
        if link.is_symlink() {
            std::fs::remove_file(&link)?;
        }
        symlink(program, &link)?;
    }
    // kubectl asks it for `kubectl keyplane <TAB>`.
    let completion = Command::new(&plugin).args(["completion", "kubectl"]).output()?.stdout;
    let path = bin.join("kubectl_complete-keyplane");
    std::fs::write(&path, completion)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    Ok(bin)
}

/// Writes `env` for `sh`: exported variables, and `tools` first on `PATH`, once however often it is read.
///
/// # Errors
/// When the directory cannot be written to.
pub(crate) fn write(dir: &Path, variables: &[(&str, &OsStr)], tools: &Path) -> Result<PathBuf> {
    let mut lines = vec!["# Written by `make up`. In a shell: . target/dev/env".to_owned()];
    lines.extend(variables.iter().map(|(name, value)| format!("export {name}={}", quoted(value))));
    let tools = quoted(tools.as_os_str());
    lines.push(format!("case \":$PATH:\" in *:{tools}:*) ;; *) export PATH={tools}:\"$PATH\" ;; esac\n"));
    let file = dir.join("env");
    private_file::write(&file, lines.join("\n"))?;
    Ok(file)
}

/// One word for `sh`, whatever is in it.
fn quoted(value: &OsStr) -> String {
    format!("'{}'", value.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_exactly_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let awkward = OsStr::new("it's $HOME; `x` \"y\"");
        let file = write(dir.path(), &[("KEYPLANE_URL", awkward)], Path::new("/opt/o'clock")).unwrap();
        let script = format!(". {0}; . {0}; printf '%s\\n%s' \"$KEYPLANE_URL\" \"$PATH\"", file.display());
        let read =
            std::process::Command::new("/bin/sh").args(["-c", &script]).env("PATH", "/bin").output().unwrap();
        let read = String::from_utf8(read.stdout).unwrap();
        assert_eq!(read, format!("{}\n/opt/o'clock:/bin", awkward.to_str().unwrap()));
    }
}
