//! kubectl, as a person would run it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::access::Access;

/// Longer than any command of a test takes, the server's own 60 s included.
const LIMIT: Duration = Duration::from_mins(2);

/// A kubectl that belongs to the server, for one identity.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    access: Access,
    cache: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

/// What a command came to.
#[derive(Debug, Clone)]
pub struct Captured {
    /// The command as a person would type it.
    pub command: String,
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Captured {
    /// The standard output of a command that must succeed.
    ///
    /// # Errors
    /// When it failed; the message holds all that it printed.
    pub fn success(self) -> Result<String> {
        if self.code == Some(0) { Ok(self.stdout) } else { bail!("{self}") }
    }

    /// The standard error of a command that must fail.
    ///
    /// # Errors
    /// When it succeeded.
    pub fn failure(self) -> Result<String> {
        if self.code == Some(0) {
            bail!("this should have failed: {self}");
        }
        Ok(self.stderr)
    }
}

impl std::fmt::Display for Captured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        write!(f, "{} ended with {code}\n{}{}", self.command, self.stdout, self.stderr)
    }
}

impl Kubectl {
    /// `cache` takes what kubectl learns about the server. A directory for each cluster: kubectl's own cache
    /// goes by address and port, and believes that a new cluster on an old one's port has its resources.
    #[must_use]
    pub fn new(program: &Path, access: &Access, cache: &Path) -> Self {
        Self {
            program: program.to_path_buf(),
            access: access.clone(),
            cache: cache.to_path_buf(),
            environment: Vec::new(),
        }
    }

    /// The same kubectl for another identity.
    #[must_use]
    pub fn with_access(&self, access: &Access) -> Self {
        Self { access: access.clone(), ..self.clone() }
    }

    /// The same kubectl with one more environment variable.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The program itself.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs a command that must succeed, and gives its standard output.
    ///
    /// # Errors
    /// When it fails; the message holds the command and all that it printed.
    pub async fn run<I, S>(&self, arguments: I) -> Result<String>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.capture(arguments, "").await?.success()
    }

    /// Applies a manifest (server-side, as a GitOps controller does).
    ///
    /// # Errors
    /// When the server refuses it, with the server's own words.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        self.capture(["apply", "--server-side", "-f", "-"], manifest).await?.success()
    }

    /// Runs a command with this standard input, whatever its exit code.
    ///
    /// # Errors
    /// When it does not start or hangs.
    pub async fn capture<I, S>(&self, arguments: I, stdin: &str) -> Result<Captured>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let arguments: Vec<OsString> =
            arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let words = arguments.iter().map(|argument| argument.to_string_lossy());
        let command = std::iter::once("kubectl".into()).chain(words).collect::<Vec<_>>().join(" ");
        let mut child = Command::new(&self.program)
            .args(self.access.context().map(|context| format!("--context={context}")))
            .args(&arguments)
            .env("KUBECONFIG", self.access.kubeconfig())
            .env("KUBECACHEDIR", &self.cache)
            // A person's own preferences have no say here.
            .env("KUBERC", "off")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", self.program.display()))?;
        let mut input = child.stdin.take().context("kubectl has no standard input")?;
        let whole = async {
            // kubectl may end without having read everything; what it says then is the better message.
            let _ = input.write_all(stdin.as_bytes()).await;
            drop(input);
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(LIMIT, whole)
            .await
            .with_context(|| format!("{command} did not end within {} s", LIMIT.as_secs()))??;
        Ok(Captured {
            command,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
