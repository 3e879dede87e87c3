//! How long a program takes from its start to its end, as whoever waits for it sees it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::peak_memory;

/// A program with its arguments and its whole environment.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
}

impl Program {
    pub(crate) fn named(name: &str, path: impl Into<PathBuf>) -> Self {
        Self { name: name.to_owned(), path: path.into(), args: Vec::new(), env: Vec::new() }
    }

    pub(crate) fn with_args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub(crate) fn with_env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.args).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Runs it once and gives what it printed.
    pub(crate) fn once(&self) -> Result<Vec<u8>> {
        let output = self
            .command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .with_context(|| format!("{} cannot be started", self.path.display()))?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} failed: {words}", self.name);
        Ok(output.stdout)
    }

    fn timed(&self) -> Result<Duration> {
        let mut command = self.command();
        let began = Instant::now();
        let status =
            command.status().with_context(|| format!("{} cannot be started", self.path.display()))?;
        let took = began.elapsed();
        ensure!(status.success(), "{} failed", self.name);
        Ok(took)
    }
}

/// What was seen of one program.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) peak_kib: i64,
    pub(crate) program_kib: u64,
    /// In ascending order, never empty.
    times: Vec<Duration>,
}

impl Measured {
    pub(crate) fn median(&self) -> Duration {
        self.at(self.times.len() / 2)
    }

    pub(crate) fn fastest(&self) -> Duration {
        self.at(0)
    }

    pub(crate) fn slow(&self) -> Duration {
        self.at(self.times.len() * 9 / 10)
    }

    fn at(&self, position: usize) -> Duration {
        self.times.get(position).copied().unwrap_or_default()
    }
}

/// Starts each program `runs` times, all of them in every round, so that what else the machine does meets them all.
pub(crate) fn measure(programs: &[Program], runs: usize) -> Result<Vec<Measured>> {
    let mut times = vec![Vec::with_capacity(runs); programs.len()];
    for _ in 0..runs {
        for (program, times) in programs.iter().zip(&mut times) {
            times.push(program.timed()?);
        }
    }
    let measured = programs.iter().zip(times).map(|(program, mut times)| {
        times.sort_unstable();
        Ok(Measured {
            name: program.name.clone(),
            peak_kib: peak_memory::of(program)?,
            program_kib: std::fs::metadata(&program.path)?.len() / 1024,
            times,
        })
    });
    measured.collect()
}
