//! The search of a whole run for plaintexts: nothing that was noted may be anywhere but in the Secrets that were named.
//!
//! Searched are etcd's whole content (Events are in it), every program's log, the API server's and Keyplane's audit
//! logs, and the API server's metrics; for each plaintext as it is, in hexadecimal and in base64.

use std::fmt;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;

use crate::etcd_scan::{self, Hit};
use crate::plaintext_registry::Plaintext;
use crate::test_run::is_record;

/// The forms in which a secret could lie about. Base64 of a text looks different at each of three offsets; the letters
/// and digits of keys and tokens look alike in both of its alphabets.
const FORMS: [&str; 6] = [
    "as it is",
    "in hexadecimal",
    "in upper-case hexadecimal",
    "in base64",
    "in base64, one byte in",
    "in base64, two bytes in",
];

/// A plaintext where none belongs. It shows which one, not what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The file, and the etcd key within it.
    pub place: String,
    /// Which secret, by what is public of it.
    pub plaintext: String,
    /// As what it is there.
    pub form: &'static str,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is in {}, {}", self.plaintext, self.place, self.form)
    }
}

/// What a search came to.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// What was found where it does not belong.
    pub leaks: Vec<Leak>,
    /// How often a delivered key was found in the Secret that was named for it, over all revisions.
    pub in_named_secrets: usize,
    /// How many plaintexts were looked for.
    pub plaintexts: usize,
    /// In how many databases, and in how many revisions of their objects.
    pub databases: usize,
    /// How many revisions of objects are in the databases.
    pub revisions: u64,
    /// In how many logs and audit logs.
    pub logs: usize,
    /// In how many files with metrics.
    pub metrics: usize,
    /// In how many files altogether, those of the databases included.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "looked for {} plaintexts in {} MB of {} files: {} databases with {} revisions, {} logs, {} of metrics; \
             {} places in Secrets that were named, {} elsewhere",
            self.plaintexts,
            self.bytes / 1_000_000,
            self.files,
            self.databases,
            self.revisions,
            self.logs,
            self.metrics,
            self.in_named_secrets,
            self.leaks.len()
        )
    }
}

/// A search for these plaintexts.
pub struct PlaintextScan<'a> {
    plaintexts: &'a [Plaintext],
    patterns: Vec<Vec<u8>>,
    searcher: AhoCorasick,
    etcd_scan: PathBuf,
}

impl<'a> PlaintextScan<'a> {
    /// Prepares the search, building what it needs.
    ///
    /// # Errors
    /// When Go is missing, or there are too many plaintexts for one search.
    pub fn new(plaintexts: &'a [Plaintext]) -> Result<Self> {
        let patterns: Vec<Vec<u8>> =
            plaintexts.iter().flat_map(|plaintext| forms(plaintext.secret())).collect();
        let searcher = AhoCorasick::new(&patterns)?;
        Ok(Self { plaintexts, patterns, searcher, etcd_scan: etcd_scan::program()? })
    }

    /// Looks through a folder and all below it. The programs that write there may run.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn look_through(&self, folder: &Path) -> Result<Findings> {
        let mut findings = Findings { plaintexts: self.plaintexts.len(), ..Findings::default() };
        let mut folders = vec![folder.to_path_buf()];
        while let Some(folder) = folders.pop() {
            if folder.join("member/snap/db").is_file() {
                self.database(&folder, &mut findings)?;
                continue;
            }
            let entries =
                std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
            for entry in entries {
                let path = entry?.path();
                if path.is_symlink() {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                } else if is_record(&path) {
                    self.record(&path, &mut findings)?;
                }
            }
        }
        findings.leaks.sort_by(|one, other| one.place.cmp(&other.place));
        findings.leaks.dedup();
        Ok(findings)
    }

    fn record(&self, path: &Path, findings: &mut Findings) -> Result<()> {
        let content = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let is_metrics = path.extension().is_some_and(|extension| extension == "metrics");
        *(if is_metrics { &mut findings.metrics } else { &mut findings.logs }) += 1;
        findings.files += 1;
        findings.bytes += content.len() as u64;
        for found in self.searcher.find_iter(&content) {
            self.leak(found.pattern().as_usize(), path.display().to_string(), findings);
        }
        Ok(())
    }

    fn database(&self, data_dir: &Path, findings: &mut Findings) -> Result<()> {
        let (hits, summary) = etcd_scan::scan(&self.etcd_scan, data_dir, &self.patterns)?;
        findings.databases += 1;
        findings.revisions += summary.revisions;
        findings.files += summary.files;
        findings.bytes += summary.bytes;
        for hit in hits {
            if self.is_named(&hit) {
                findings.in_named_secrets += usize::from(hit.revision.is_some());
                continue;
            }
            let place = match (&hit.key, hit.revision) {
                (Some(key), Some(revision)) => {
                    format!("{key}, revision {revision}, of {}", data_dir.display())
                }
                (Some(key), None) => format!("{key} in {}", data_dir.join(&hit.file).display()),
                (None, _) => format!("bytes of no key in {}", data_dir.join(&hit.file).display()),
            };
            self.leak(hit.pattern, place, findings);
        }
        Ok(())
    }

    /// Whether a hit is where the plaintext was delivered to.
    fn is_named(&self, hit: &Hit) -> bool {
        let Some(plaintext) = self.plaintexts.get(hit.pattern / FORMS.len()) else {
            return false;
        };
        match &hit.key {
            Some(key) => plaintext.belongs_to(key),
            // The bytes of the database's file do not tell whose they are; its revisions do, and the log's entries.
            None => plaintext.was_delivered() && !is_log(&hit.file),
        }
    }

    fn leak(&self, pattern: usize, place: String, findings: &mut Findings) {
        let plaintext = self.plaintexts.get(pattern / FORMS.len()).map(ToString::to_string);
        let form = FORMS.get(pattern % FORMS.len()).copied().unwrap_or_default();
        findings.leaks.push(Leak { place, plaintext: plaintext.unwrap_or_default(), form });
    }
}

/// Whether a file of etcd is of its write-ahead log.
fn is_log(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension == "wal")
}

/// The bytes to look for, in the order of [`FORMS`].
fn forms(secret: &str) -> [Vec<u8>; 6] {
    let hexadecimal = etcd_scan::hexadecimal(secret.as_bytes());
    let [first, second, third] = [0, 1, 2].map(|offset| {
        // Whole groups of three bytes: what base64 shows of the text wherever it begins.
        let rest = secret.as_bytes().get(offset..).unwrap_or_default();
        let whole = rest.get(..rest.len() / 3 * 3).unwrap_or_default();
        BASE64_STANDARD_NO_PAD.encode(whole).into_bytes()
    });
    [
        secret.as_bytes().to_vec(),
        hexadecimal.clone().into_bytes(),
        hexadecimal.to_uppercase().into_bytes(),
        first,
        second,
        third,
    ]
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn a_secret_is_found_in_base64_wherever_in_the_text_it_begins() {
        let secret = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg3yPc0v";
        for before in 0..7 {
            for after in 0..4 {
                let text = format!("{}{secret}{}", "x".repeat(before), "y".repeat(after));
                let encoded = BASE64_STANDARD.encode(text).into_bytes();
                let found = forms(secret)
                    .iter()
                    .any(|form| encoded.windows(form.len()).any(|window| window == &form[..]));
                assert!(found, "{before} bytes before, {after} after");
            }
        }
    }
}
