//! Builds a Go program of this repository once and keeps it, by the hash of its sources.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::progress::say;
use crate::workspace;

/// How often a running build tells how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// A Go program in the checkout.
pub(crate) struct GoProgram {
    /// What people call it.
    pub(crate) title: &'static str,
    /// Its module's directory, from the root of the checkout.
    pub(crate) module: &'static str,
    /// The names it is called under; one file, a link for each.
    pub(crate) names: &'static [&'static str],
    /// How long a build from nothing takes, for people.
    pub(crate) usual_time: &'static str,
    /// Linker flags, given the text of its go.mod.
    pub(crate) linker_flags: fn(&str) -> String,
}

/// The directory of the built program, and whether this call built it.
pub(crate) struct Built {
    pub(crate) dir: PathBuf,
    pub(crate) just_now: bool,
}

impl GoProgram {
    /// The built program, from the cache or built now.
    ///
    /// # Errors
    /// When Go is missing or the build fails; the message holds what Go said last.
    pub(crate) fn get(&self) -> Result<Built> {
        let module = workspace::root().join(self.module);
        let go_mod = read(&module.join("go.mod"))?;
        let flags = (self.linker_flags)(&go_mod);
        let cache = std::env::var_os("KEYPLANE_BUILD_CACHE_DIR")
            .map_or_else(|| workspace::target().join("cluster"), PathBuf::from);
        let dir = cache.join(source_hash(&module, &flags)?);
        if dir.is_dir() {
            return Ok(Built { dir, just_now: false });
        }

        std::fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
        let _one_at_a_time = self.lock(&dir.with_extension("lock"))?;
        // Whoever held the lock before may have built it.
        if dir.is_dir() {
            return Ok(Built { dir, just_now: false });
        }
        self.build(&module, &flags, &dir)?;
        Ok(Built { dir, just_now: true })
    }

    fn lock(&self, path: &Path) -> Result<File> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                say(format!("keyplane: waiting for another build of {}", self.title));
                file.lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        Ok(file)
    }

    fn build(&self, module: &Path, flags: &str, dir: &Path) -> Result<()> {
        let partial = dir.with_extension("partial");
        if partial.exists() {
            std::fs::remove_dir_all(&partial)?;
        }
        std::fs::create_dir_all(&partial)?;
        let program = partial.join("program");
        say(format!("keyplane: building {} with Go; the first time takes {}", self.title, self.usual_time));
        let go = Command::new("go")
            .args(["build", "-v", "-trimpath", "-ldflags", flags, "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(module)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let go = match go {
            Ok(go) => go,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
                "go is not on PATH, and {} is built with it: install Go 1.26 or later from https://go.dev/dl/ \
                 and put its bin directory on PATH",
                self.title
            ),
            Err(error) => return Err(error).context("go does not start"),
        };
        self.follow(go)?;
        for name in self.names {
            std::os::unix::fs::symlink("program", partial.join(name))?;
        }
        // In one step: a build that was killed half-way never looks like a finished one.
        std::fs::rename(&partial, dir).with_context(|| format!("cannot create {}", dir.display()))
    }

    /// Reports until the build has ended.
    fn follow(&self, mut go: Child) -> Result<()> {
        let stderr = go.stderr.take().context("go has no standard error")?;
        let (sender, lines) = channel();
        let reader = std::thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        let said = self.report(&lines);
        let _ = reader.join();
        let status = go.wait()?;
        if !status.success() {
            bail!("building {} failed ({status}); Go said last:\n{}", self.title, said.join("\n"));
        }
        Ok(())
    }

    /// The last lines that Go printed.
    fn report(&self, lines: &Receiver<String>) -> Vec<String> {
        let started = Instant::now();
        let mut reported = started;
        let mut packages = 0_u32;
        let mut recent = Vec::new();
        loop {
            match lines.recv_timeout(REPORT_EVERY) {
                Ok(line) => {
                    // `-v` prints a package's path as it is compiled; everything else has a space in it.
                    packages += u32::from(!line.contains(' '));
                    recent.push(line);
                    if recent.len() > 20 {
                        recent.remove(0);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                let at = recent.last().map_or("preparing", String::as_str);
                let seconds = started.elapsed().as_secs();
                say(format!("keyplane: {}: {seconds} s, {packages} packages compiled ({at})", self.title));
            }
        }
        say(format!("keyplane: {} built in {} s", self.title, started.elapsed().as_secs()));
        recent
    }
}

/// Names the build: the same sources and flags give the same program.
fn source_hash(module: &Path, flags: &str) -> Result<String> {
    let mut sources: Vec<PathBuf> = std::fs::read_dir(module)
        .with_context(|| format!("cannot read {}", module.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    sources.retain(|path| {
        path.extension().is_some_and(|extension| extension == OsStr::new("go"))
            || path.file_name().is_some_and(|name| name == "go.mod" || name == "go.sum")
    });
    sources.sort();
    let mut hash = Sha256::new();
    hash.update(flags);
    for source in sources {
        let content = std::fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
        hash.update(Sha256::digest(source.file_name().unwrap_or_default().as_encoded_bytes()));
        hash.update(Sha256::digest(content));
    }
    // 64 bits tell a handful of builds apart and keep the paths readable.
    let first = hash.finalize().iter().take(8).fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    Ok(format!("{first:016x}"))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
