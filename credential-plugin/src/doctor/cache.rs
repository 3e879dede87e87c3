//! The token cache: whether it can be used, whether a token lies open in it, and what it holds for this key.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use keyplane_core::key_format::KeyDigest;
use serde::Deserialize;

use crate::commands::whoami::until;
use crate::doctor::finding::{Finding, Outcome};
use crate::doctor::shell::quoted_path;
use crate::environment::CACHE_VARIABLE;
use crate::exchange::address::BaseUrl;
use crate::private_file;
use crate::token::cache::TokenCache;
use crate::token::cache_folder::CacheArgs;
use crate::token::life::TokenLife;
use crate::token::slot_family::SlotFamily;

/// The check's name.
pub const CHECK: &str = "cache";
/// Bytes of a token's file that are read: more than one ever has.
const FILE_MAX: u64 = 64 * 1024;
/// Files that are looked at.
const FILES_MAX: usize = 1000;

/// What is wrong with a token's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Others may read or change it.
    Open,
    /// It is somebody else's, or a link.
    Foreign,
    /// It is not what the plugin writes.
    Damaged,
}

/// The cache as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheSeen {
    /// `--no-cache`
    Off,
    /// The system names no folder.
    NoFolder,
    /// The folder cannot be used.
    Unusable(PathBuf, String),
    /// The folder can be used.
    Usable {
        /// The folder.
        folder: PathBuf,
        /// Files with faults.
        faults: Vec<(PathBuf, Fault)>,
        /// The ends of this key's tokens; none when there is no key.
        ends: Option<Vec<DateTime<Utc>>>,
    },
}

impl CacheSeen {
    /// Looks into the folder, for the key at its exchange.
    pub(super) fn observe(
        folder: Option<&Path>,
        key: Option<(&BaseUrl, KeyDigest)>,
        now: DateTime<Utc>,
    ) -> Self {
        let Some(folder) = folder else {
            let usual = CacheArgs { cache_dir: None, no_cache: false };
            return if usual.folder().is_some() { Self::Off } else { Self::NoFolder };
        };
        if let Err(error) = try_writing(folder) {
            return Self::Unusable(folder.to_owned(), error.to_string());
        }
        let ends = key.map(|(base, digest)| {
            let lives = TokenCache::lives_of(folder, &SlotFamily::of(base, digest), now);
            let mut ends: Vec<_> = lives.iter().map(TokenLife::expires_at).collect();
            ends.sort_unstable();
            ends
        });
        Self::Usable { folder: folder.to_owned(), faults: faults(folder), ends }
    }

    /// Whether the cache does its part, and keeps its tokens to itself.
    #[must_use]
    pub fn judge(&self, now: DateTime<Utc>) -> Vec<Finding> {
        const SLOW: &str = "each command asks the exchange";
        match self {
            Self::Off => vec![Finding::hint(CHECK, format!("switched off by --no-cache: {SLOW}"), None)],
            Self::NoFolder => vec![Finding::problem(
                CHECK,
                format!("the system names no folder for it: {SLOW}"),
                format!("set {CACHE_VARIABLE} to a folder of yours"),
            )],
            Self::Unusable(folder, why) => vec![Finding::problem(
                CHECK,
                format!("{} cannot be used: {why}; {SLOW}", folder.display()),
                platform::make_usable(folder),
            )],
            Self::Usable { folder, faults, ends } => {
                let mut findings: Vec<Finding> =
                    faults.iter().map(|(path, fault)| judge_file(path, *fault)).collect();
                if findings.iter().all(|finding| finding.outcome != Outcome::Problem) {
                    let held = match ends.as_deref().map(<[_]>::last) {
                        Some(Some(end)) => format!("this key's token, until {}", until(*end, now)),
                        Some(None) => "no token of this key yet".to_owned(),
                        None => "nothing that is known without the key".to_owned(),
                    };
                    findings.push(Finding::ok(CHECK, format!("{}: {held}", folder.display())));
                }
                findings
            }
        }
    }
}

fn judge_file(path: &Path, fault: Fault) -> Finding {
    let shown = path.display();
    let remove = format!("rm {}", quoted_path(path));
    match fault {
        Fault::Open => Finding::problem(
            CHECK,
            format!("other users may read or change {shown}, which holds a token"),
            remove,
        ),
        Fault::Foreign => Finding::problem(
            CHECK,
            format!(
                "{shown} is somebody else's file, or a link: it is not used, and its token is asked for anew"
            ),
            remove,
        ),
        Fault::Damaged => {
            Finding::hint(CHECK, format!("{shown} is damaged: the next token replaces it"), None)
        }
    }
}

/// Makes the folder where it is missing, as get-token does, and a file in it for a moment.
fn try_writing(folder: &Path) -> io::Result<()> {
    private_file::ensure_folder(folder).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            io::Error::new(error.kind(), "it is not yours, or others may write in it")
        }
        _ => error,
    })?;
    private_file::begin(folder).map(drop)
}

fn faults(folder: &Path) -> Vec<(PathBuf, Fault)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut faults: Vec<(PathBuf, Fault)> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .take(FILES_MAX)
        .filter_map(|path| fault_of(&path).map(|fault| (path, fault)))
        .collect();
    faults.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    faults
}

#[derive(Deserialize)]
struct SlotName {
    slot: String,
}

fn fault_of(path: &Path) -> Option<Fault> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if metadata.is_symlink() {
        return Some(Fault::Foreign);
    }
    match private_file::read_own(path, FILE_MAX) {
        Ok(bytes) => {
            let slot = serde_json::from_slice::<SlotName>(&bytes).ok();
            let name = path.file_stem().and_then(|stem| stem.to_str());
            let is_sound = slot.is_some_and(|named| Some(named.slot.as_str()) == name);
            (!is_sound).then_some(Fault::Damaged)
        }
        // Another process replaced or removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) if metadata.is_file() && private_file::is_open_to_others(&metadata) => Some(Fault::Open),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(Fault::Foreign),
        Err(_) => Some(Fault::Damaged),
    }
}

#[cfg(unix)]
mod platform {
    use std::path::Path;

    use super::{CACHE_VARIABLE, quoted_path};

    pub(super) fn make_usable(folder: &Path) -> String {
        let folder = quoted_path(folder);
        format!("chmod 700 {folder} if it is yours, or set {CACHE_VARIABLE} to a folder of yours")
    }
}

#[cfg(not(unix))]
mod platform {
    use std::path::Path;

    use super::CACHE_VARIABLE;

    pub(super) fn make_usable(_: &Path) -> String {
        format!("set {CACHE_VARIABLE} to a folder of yours")
    }
}
