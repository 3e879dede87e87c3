//! Every key and token that a test run knows in plaintext, so that the run can be searched for them afterwards.
//!
//! What is noted goes to the file `plaintexts` of the run's directory ([`crate::test_run`]), readable by its owner;
//! without such a directory nothing is noted. [`crate::exchange::post`] and [`crate::tenant`] note what passes through
//! them. A test that takes a key out of a Secret that an ApiKey names must say so, with [`delivered`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use keyplane_core::key_format::PlaintextKey;
use serde::{Deserialize, Serialize};

use crate::test_run;

/// The least length of what is searched for: anything shorter is found by chance.
const SHORTEST: usize = 32;

/// One secret. Printed, it shows no part that is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Plaintext {
    label: String,
    secret: String,
    secrets: BTreeSet<String>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    label: String,
    secret: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivered_to: Option<String>,
}

/// The file with all plaintexts of a run.
#[derive(Debug, Clone)]
pub struct PlaintextRegistry {
    file: PathBuf,
}

impl Plaintext {
    /// What is secret of it: a key without its type, the signature of a token. Whoever has the whole has this.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Whether it was delivered into the Secret whose etcd key this is.
    #[must_use]
    pub fn belongs_to(&self, etcd_key: &str) -> bool {
        etcd_key.strip_prefix("/registry/secrets/").is_some_and(|secret| self.secrets.contains(secret))
    }

    /// Whether it was delivered into any Secret.
    #[must_use]
    pub fn was_delivered(&self) -> bool {
        !self.secrets.is_empty()
    }
}

impl fmt::Display for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plaintext")
            .field("label", &self.label)
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}

impl PlaintextRegistry {
    /// The registry in this directory.
    #[must_use]
    pub fn in_dir(dir: &Path) -> Self {
        Self { file: dir.join("plaintexts") }
    }

    /// Notes a key. A text that is no well-formed key is no secret and is left out.
    ///
    /// # Errors
    /// When the file cannot be written to.
    pub fn key(&self, text: &str) -> Result<()> {
        key_line(text, None).map_or(Ok(()), |line| self.append(&line))
    }

    /// Notes a key that was delivered into a Secret, where alone it may be.
    ///
    /// # Errors
    /// When it is no key, or the file cannot be written to.
    pub fn delivered(&self, text: &str, namespace: &str, secret: &str) -> Result<()> {
        let line = key_line(text, Some(format!("{namespace}/{secret}")));
        self.append(&line.with_context(|| format!("the Secret {namespace}/{secret} holds no key"))?)
    }

    /// Notes a token. A text that is no JWT is left out.
    ///
    /// # Errors
    /// When the file cannot be written to.
    pub fn token(&self, text: &str) -> Result<()> {
        token_line(text).map_or(Ok(()), |line| self.append(&line))
    }

    /// All that was noted, each once.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what this writes.
    pub fn read(&self) -> Result<Vec<Plaintext>> {
        let text = match std::fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.file.display())),
        };
        let mut found: BTreeMap<String, Plaintext> = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            // Not the line itself: it holds a secret.
            let line: Line = serde_json::from_str(line)
                .ok()
                .with_context(|| format!("line {} of {} is damaged", number + 1, self.file.display()))?;
            let plaintext = found.entry(line.secret.clone()).or_insert_with(|| Plaintext {
                label: line.label,
                secret: line.secret,
                secrets: BTreeSet::new(),
            });
            plaintext.secrets.extend(line.delivered_to);
        }
        Ok(found.into_values().collect())
    }

    fn append(&self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        // One write to the end of the file: lines of several processes do not mix.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.file)
            .and_then(|mut file| file.write_all(&text))
            .with_context(|| format!("cannot write {}", self.file.display()))
    }
}

fn key_line(text: &str, delivered_to: Option<String>) -> Option<Line> {
    let key = PlaintextKey::parse(text).ok()?;
    let (_, secret) = text.split_once('_')?;
    let label = format!("the key {}…", key.prefix());
    Some(Line { label, secret: secret.to_owned(), delivered_to })
}

fn token_line(text: &str) -> Option<Line> {
    let (rest, signature) = text.rsplit_once('.')?;
    let is_token = rest.starts_with("ey") && signature.len() >= SHORTEST;
    let line = Line { label: "a token".into(), secret: signature.into(), delivered_to: None };
    is_token.then_some(line)
}

/// What this process has noted: a key that is presented a thousand times is noted once.
static NOTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn note(line: Option<Line>) -> Result<()> {
    let (Some(run), Some(line)) = (test_run::dir(), line) else {
        return Ok(());
    };
    let name = format!("{} {}", line.secret, line.delivered_to.as_deref().unwrap_or_default());
    if !NOTED.lock().unwrap_or_else(PoisonError::into_inner).insert(name) {
        return Ok(());
    }
    PlaintextRegistry::in_dir(&run).append(&line)
}

/// Notes a key of this run; see [`PlaintextRegistry::key`].
///
/// # Errors
/// When the run's directory cannot be written to.
pub fn key(text: &str) -> Result<()> {
    note(key_line(text, None))
}

/// Notes a key of this run that was delivered into a Secret; see [`PlaintextRegistry::delivered`].
///
/// # Errors
/// When it is no key, or the run's directory cannot be written to.
pub fn delivered(text: &str, namespace: &str, secret: &str) -> Result<()> {
    let line = key_line(text, Some(format!("{namespace}/{secret}")));
    note(Some(line.with_context(|| format!("the Secret {namespace}/{secret} holds no key"))?))
}

/// Notes a token of this run; see [`PlaintextRegistry::token`].
///
/// # Errors
/// When the run's directory cannot be written to.
pub fn token(text: &str) -> Result<()> {
    note(token_line(text))
}

/// Notes every token in the files of a folder, such as the plugin's cache. A folder that is not there has none.
///
/// # Errors
/// When a file cannot be read, or the run's directory cannot be written to.
pub fn tokens_in(folder: &Path) -> Result<()> {
    if test_run::dir().is_none() || !folder.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            tokens_in(&path)?;
        } else {
            let content = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
            // A token has no quotation mark in it, and JSON puts one on each side.
            content.split('"').try_for_each(token)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const KEY: &str = "kpk_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg3yPc0v";

    #[test]
    fn what_is_noted_is_read_back_once_with_all_its_secrets_and_shows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let registry = PlaintextRegistry::in_dir(dir.path());
        assert!(registry.read().unwrap().is_empty());
        registry.key(KEY).unwrap();
        registry.delivered(KEY, "acme", "ci").unwrap();
        registry.key("not a key").unwrap();
        registry.token(&format!("eyJh.eyJz.{}", "s".repeat(86))).unwrap();
        registry.token("not a token").unwrap();
        let all = registry.read().unwrap();
        assert_eq!(all.len(), 2, "{all:?}");
        let key = all.iter().find(|plaintext| plaintext.label.contains("key")).unwrap();
        assert_eq!(format!("kpk_{}", key.secret()), KEY);
        assert!(key.belongs_to("/registry/secrets/acme/ci") && key.was_delivered());
        assert!(!key.belongs_to("/registry/secrets/acme/ci2"));
        assert!(!key.belongs_to("/registry/configmaps/acme/ci"));
        assert_eq!(key.to_string(), "the key kpk_0123…");
        assert!(!format!("{key:?}").contains("456789"), "{key:?}");
        let mode = registry.file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(registry.delivered("nothing", "acme", "ci").is_err());
    }
}
