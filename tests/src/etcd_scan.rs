//! The program that looks through an etcd's data directory, from `tests/cluster/etcd-scan`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::go_build::GoProgram;

const ETCD_SCAN: GoProgram = GoProgram {
    title: "etcd-scan",
    module: "tests/cluster/etcd-scan",
    names: &["etcd-scan"],
    usual_time: "half a minute",
    linker_flags: |_| "-s -w".to_owned(),
};

/// A place that holds a pattern.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Hit {
    /// The pattern's number.
    pub(crate) pattern: usize,
    /// The file, from the data directory.
    pub(crate) file: String,
    /// The etcd key; none for bytes that belong to no key.
    pub(crate) key: Option<String>,
    /// The revision, for a hit in the database.
    pub(crate) revision: Option<u64>,
}

/// What was looked through.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Summary {
    pub(crate) revisions: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Summary { summary: Summary },
    Hit(Hit),
}

/// The program, built when it is not yet there.
///
/// # Errors
/// When Go is missing or the build fails.
pub(crate) fn program() -> Result<PathBuf> {
    Ok(ETCD_SCAN.get()?.dir.join("etcd-scan"))
}

/// The bytes in lower-case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Looks for the patterns in everything that the etcd of `data_dir` has stored. It may be running.
///
/// # Errors
/// When it is no data directory or cannot be read.
pub(crate) fn scan(program: &Path, data_dir: &Path, patterns: &[Vec<u8>]) -> Result<(Vec<Hit>, Summary)> {
    let mut child = Command::new(program)
        .arg("--data-dir")
        .arg(data_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} does not start", program.display()))?;
    let mut lines = String::new();
    for pattern in patterns {
        lines.push_str(&hexadecimal(pattern));
        lines.push('\n');
    }
    // It reads everything before it says anything; should it end early, its own words are the better message.
    let _ = child.stdin.take().context("no standard input")?.write_all(lines.as_bytes());
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", data_dir.display(), said.trim());
    let (mut hits, mut summary) = (Vec::new(), None);
    for line in String::from_utf8(output.stdout)?.lines() {
        match serde_json::from_str(line).context("etcd-scan printed something else")? {
            Line::Summary { summary: all } => summary = Some(all),
            Line::Hit(hit) => hits.push(hit),
        }
    }
    Ok((hits, summary.context("etcd-scan did not come to its end")?))
}
