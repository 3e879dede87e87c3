//! Steps that explain themselves: what is done and why, the command, what it printed, and whether that is what
//! should have happened.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

/// How long a command may take, and how long [`Walkthrough::eventually`] repeats one.
const LIMIT: Duration = Duration::from_mins(1);

/// What a command must come to.
#[derive(Debug, Clone, Copy)]
pub enum Expect {
    /// It succeeds.
    Succeeds,
    /// It succeeds, and its output holds this.
    Prints(&'static str),
    /// It succeeds, and its output does not hold this.
    PrintsNot(&'static str),
    /// It fails, and its output or error output holds this.
    FailsWith(&'static str),
}

impl Expect {
    fn unmet(self, succeeded: bool, output: &str) -> Option<String> {
        let why = match self {
            Self::Succeeds | Self::Prints(_) | Self::PrintsNot(_) if !succeeded => {
                "should have succeeded".to_owned()
            }
            Self::Prints(text) if !output.contains(text) => format!("should have printed `{text}`"),
            Self::PrintsNot(text) if output.contains(text) => format!("should not have printed `{text}`"),
            Self::FailsWith(_) if succeeded => "should have been refused".to_owned(),
            Self::FailsWith(text) if !output.contains(text) => format!("should have failed with `{text}`"),
            _ => return None,
        };
        Some(why)
    }

    fn met(self) -> &'static str {
        match self {
            Self::Succeeds | Self::Prints(_) | Self::PrintsNot(_) => "as it should",
            Self::FailsWith(_) => "refused, as it should be",
        }
    }
}

/// A walk through numbered steps.
pub struct Walkthrough {
    dir: PathBuf,
    out: Box<dyn Write + Send>,
    environment: Vec<(OsString, OsString)>,
    steps: u32,
    title: String,
    checks: u32,
}

impl Walkthrough {
    /// Commands run in `dir`; the story goes to `out`.
    #[must_use]
    pub fn new(dir: &Path, out: impl Write + Send + 'static) -> Self {
        Self {
            dir: dir.to_path_buf(),
            out: Box::new(out),
            environment: Vec::new(),
            steps: 0,
            title: String::new(),
            checks: 0,
        }
    }

    /// Sets an environment variable for the commands that follow.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.environment.push((name.into(), value.into()));
    }

    /// Begins a step.
    pub fn step(&mut self, title: &str, narration: &str) {
        self.steps += 1;
        title.clone_into(&mut self.title);
        self.print(&format!("\n── {}. {title}\n", self.steps));
        for line in narration.lines() {
            self.print(&format!("   {}", line.trim()));
        }
    }

    /// Runs a line of `sh`, shows it and what it prints, and checks it. Gives its standard output.
    ///
    /// What is shown is what runs: no secrets in it, they would be on the screen and in the process list.
    ///
    /// # Errors
    /// When it does not come to what was expected.
    pub async fn run(&mut self, line: &str, expect: Expect) -> Result<String> {
        self.show(line);
        let outcome = self.execute(line).await?;
        self.conclude(line, expect, &outcome)
    }

    /// As [`Walkthrough::run`], repeated until it comes to what is expected (up to a minute): for what the
    /// controllers do in their own time. Only the last outcome is shown.
    ///
    /// # Errors
    /// When it never comes to what was expected.
    pub async fn eventually(&mut self, line: &str, expect: Expect) -> Result<String> {
        self.show(line);
        let started = Instant::now();
        loop {
            let outcome = self.execute(line).await?;
            if expect.unmet(outcome.succeeded, &outcome.all).is_none() || started.elapsed() > LIMIT {
                return self.conclude(line, expect, &outcome);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Shows a figure or a remark under the last command.
    pub fn remark(&mut self, text: &str) {
        self.print(&format!("   → {text}"));
    }

    /// Closes the walk.
    pub fn finish(&mut self) {
        self.print(&format!(
            "\n── Done: {} steps, {} commands, each came to what it should.",
            self.steps, self.checks
        ));
    }

    /// As a person would type it.
    fn show(&mut self, line: &str) {
        self.print("");
        for (number, part) in line.lines().enumerate() {
            self.print(&format!("   {} {}", if number == 0 { "$" } else { " " }, part.trim_end()));
        }
    }

    fn print(&mut self, line: &str) {
        // The reader may have gone away; the walk then goes on for its exit code.
        let _ = writeln!(self.out, "{line}");
    }

    async fn execute(&self, line: &str) -> Result<Outcome> {
        let run = Command::new("sh")
            .args(["-c", line])
            .current_dir(&self.dir)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(LIMIT, run)
            .await
            .with_context(|| format!("step {} ({}): `{line}` hangs", self.steps, self.title))?
            .context("sh does not start")?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
        Ok(Outcome { succeeded: output.status.success(), stdout, all })
    }

    fn conclude(&mut self, line: &str, expect: Expect, outcome: &Outcome) -> Result<String> {
        for printed in outcome.all.lines() {
            self.print(&format!("     {printed}"));
        }
        if let Some(why) = expect.unmet(outcome.succeeded, &outcome.all) {
            self.print(&format!("   ✗ {why}"));
            bail!("step {} ({}): `{line}` {why}", self.steps, self.title);
        }
        self.checks += 1;
        self.print(&format!("   ✓ {}", expect.met()));
        Ok(outcome.stdout.clone())
    }
}

struct Outcome {
    succeeded: bool,
    stdout: String,
    all: String,
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What a walk printed, readable while the walk still owns its end.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<u8>>>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_is_shown_is_what_ran_and_what_it_printed() {
        let told = Told::default();
        let mut walk = Walkthrough::new(Path::new("/"), told.clone());
        walk.set("NAME", "world");
        walk.step("Greet", "A greeting.");
        assert_eq!(
            walk.run("echo hello $NAME", Expect::Prints("hello world")).await.unwrap(),
            "hello world\n"
        );
        let told = String::from_utf8(told.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            told,
            "\n── 1. Greet\n\n   A greeting.\n\n   $ echo hello $NAME\n     hello world\n   ✓ as it should\n"
        );
    }

    #[tokio::test]
    async fn an_unexpected_outcome_is_an_error_that_names_the_step_and_the_command() {
        let mut walk = Walkthrough::new(Path::new("/"), std::io::sink());
        walk.step("Look around", "Nothing to see.");
        let error = walk.run("echo no >&2; exit 1", Expect::Succeeds).await.unwrap_err().to_string();
        assert_eq!(error, "step 1 (Look around): `echo no >&2; exit 1` should have succeeded");
    }

    #[tokio::test]
    async fn what_takes_its_time_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut walk = Walkthrough::new(dir.path(), std::io::sink());
        walk.step("Wait", "The third look shows it.");
        walk.eventually("echo x >> seen; wc -l < seen", Expect::Prints("3")).await.unwrap();
    }

    #[test]
    fn each_expectation_is_met_by_what_it_names_and_by_nothing_else() {
        for (expect, succeeded, output, met) in [
            (Expect::Succeeds, true, "", true),
            (Expect::Succeeds, false, "", false),
            (Expect::Prints("yes"), true, "yes", true),
            (Expect::Prints("yes"), true, "no", false),
            (Expect::Prints("yes"), false, "yes", false),
            (Expect::PrintsNot("yes"), true, "no", true),
            (Expect::PrintsNot("yes"), true, "yes", false),
            (Expect::PrintsNot("yes"), false, "no", false),
            (Expect::FailsWith("Forbidden"), false, "Forbidden", true),
            (Expect::FailsWith("Forbidden"), false, "refused", false),
            (Expect::FailsWith("Forbidden"), true, "Forbidden", false),
        ] {
            assert_eq!(expect.unmet(succeeded, output).is_none(), met, "{expect:?} {succeeded} {output}");
        }
    }
}
