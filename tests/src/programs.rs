//! Finds the programs of a Kubernetes control plane.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::go_build::{Built, GoProgram};
use crate::progress::say;

/// The oldest API server that Keyplane's resources work on: their CEL rules need its library.
const OLDEST_MINOR: u32 = 33;

const NAMES: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"];

const CONTROL_PLANE: GoProgram = GoProgram {
    title: "the Kubernetes control plane",
    module: "tests/cluster",
    names: &NAMES,
    usual_time: "about 5 minutes on two cores, later runs use the cache",
    linker_flags: version_stamps,
};

const SUPERVISE: GoProgram = GoProgram {
    title: "supervise",
    module: "tests/cluster/supervise",
    names: &["supervise"],
    usual_time: "some seconds",
    linker_flags: |_| "-s -w".to_owned(),
};

/// Where the programs came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The directory that `KUBEBUILDER_ASSETS` names.
    Assets,
    /// The directories of `PATH`.
    Path,
    /// An earlier build of the Go module `tests/cluster`.
    Cache,
    /// A build of the Go module `tests/cluster`, made just now.
    Built,
}

/// The programs of one control plane; they belong together (kubectl within one minor version of the server).
#[derive(Debug, Clone)]
pub struct Programs {
    /// The database of the API server.
    pub etcd: PathBuf,
    /// The API server.
    pub kube_apiserver: PathBuf,
    /// The controllers of Kubernetes itself.
    pub kube_controller_manager: PathBuf,
    /// The client that belongs to this server.
    pub kubectl: PathBuf,
    /// Where they came from.
    pub found: Found,
}

impl Programs {
    /// Finds the programs in `KUBEBUILDER_ASSETS`, on `PATH`, in the cache (`KEYPLANE_BUILD_CACHE_DIR`, or
    /// `target/cluster`), or builds them from `tests/cluster`, telling how far it is.
    ///
    /// # Errors
    /// When they are nowhere and cannot be built; the message says what to install.
    pub fn find() -> Result<Self> {
        if let Some(dir) = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) {
            match Self::among(&[dir], Found::Assets) {
                Ok(programs) => return Ok(programs),
                // Said aloud: whoever set the variable expects it to be used.
                Err(reason) => say(format!("keyplane: not using KUBEBUILDER_ASSETS: {reason:#}")),
            }
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
        if let Ok(programs) = Self::among(&dirs, Found::Path) {
            return Ok(programs);
        }
        let Built { dir, just_now } = CONTROL_PLANE.get().context(
            "no control plane to test on: KUBEBUILDER_ASSETS and PATH do not hold etcd, kube-apiserver, \
             kube-controller-manager and kubectl together, and building them failed",
        )?;
        Self::among(&[dir], if just_now { Found::Built } else { Found::Cache })
    }

    /// All four out of these directories, if they are there and fit together.
    fn among(dirs: &[PathBuf], found: Found) -> Result<Self> {
        let programs = Self {
            etcd: find_in(dirs, "etcd")?,
            kube_apiserver: find_in(dirs, "kube-apiserver")?,
            kube_controller_manager: find_in(dirs, "kube-controller-manager")?,
            kubectl: find_in(dirs, "kubectl")?,
            found,
        };
        let server = minor_version(&programs.kube_apiserver, &["--version"])?;
        if server < OLDEST_MINOR {
            bail!("{} is 1.{server}, and Keyplane needs 1.{OLDEST_MINOR}", programs.kube_apiserver.display());
        }
        let client = minor_version(&programs.kubectl, &["version", "--client"])?;
        if client.abs_diff(server) > 1 {
            bail!("{} is 1.{client}, too far from the server's 1.{server}", programs.kubectl.display());
        }
        Ok(programs)
    }
}

/// The program that keeps others from outliving us; always our own, from `tests/cluster/supervise`.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn supervise() -> Result<PathBuf> {
    Ok(SUPERVISE.get()?.dir.join("supervise"))
}

/// The first file of that name in the directories of `PATH`.
///
/// # Errors
/// When there is none.
pub fn on_path(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_in(&std::env::split_paths(&path).collect::<Vec<_>>(), name)
}

fn find_in(dirs: &[PathBuf], name: &str) -> Result<PathBuf> {
    dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file()).with_context(|| {
        format!(
            "{name} is not in {}",
            dirs.iter().map(|d| d.display().to_string()).collect::<Vec<_>>().join(":")
        )
    })
}

/// The `36` of `Kubernetes v1.36.3` or `Client Version: v1.36.3`.
fn minor_version(program: &Path, args: &[&str]) -> Result<u32> {
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("{} does not start", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.split_once(" v1.")
        .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .with_context(|| format!("{} does not tell its version: {}", program.display(), said.trim()))
}

/// Stamps the version that go.mod names: unstamped, the controller manager and kubectl refuse to start.
fn version_stamps(go_mod: &str) -> String {
    let version = go_mod
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or("v0.0.0");
    let minor = version.split('.').nth(1).unwrap_or("0");
    format!(
        "-s -w -X k8s.io/component-base/version.gitVersion={version} \
         -X k8s.io/component-base/version.gitMajor=1 \
         -X k8s.io/component-base/version.gitMinor={minor} \
         -X k8s.io/client-go/pkg/version.gitVersion={version}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_stamped_is_the_one_go_mod_names() {
        let stamps = version_stamps("require (\n\tk8s.io/kubernetes v1.36.3\n)");
        assert!(stamps.contains("component-base/version.gitVersion=v1.36.3 "), "{stamps}");
        assert!(stamps.contains("gitMinor=36"), "{stamps}");
    }

    #[test]
    fn a_directory_without_all_four_programs_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("etcd"), "").unwrap();
        let reason = Programs::among(&[dir.path().to_path_buf()], Found::Assets).unwrap_err();
        assert!(reason.to_string().contains("kube-apiserver is not in"), "{reason}");
    }

    #[test]
    fn a_server_that_is_too_old_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        for name in NAMES {
            let script = dir.path().join(name);
            std::fs::write(&script, "#!/bin/sh\necho 'Kubernetes v1.32.4'\n").unwrap();
            std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let reason = Programs::among(&[dir.path().to_path_buf()], Found::Path).unwrap_err();
        assert!(reason.to_string().contains("is 1.32, and Keyplane needs 1.33"), "{reason}");
    }
}
