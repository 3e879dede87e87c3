//! The key that `login` keeps for an exchange: in the operating system's keyring, else in a private file.
//!
//! A record beside it says which key it is and where, without the key: so a warm start asks no keyring, and what finds
//! the cached token costs one small file. An exchange may have several keys, each under a name of its own.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use keyplane_core::key_format::{KeyDigest, PlaintextKey};
use serde::{Deserialize, Serialize};

use crate::exchange::address::BaseUrl;
use crate::failure::{Failure, FailureKind};
use crate::field_digest::field_digest;
use crate::key_source::config_folder::config_folder;
use crate::key_source::key_text::{check, read_file};
use crate::key_source::keyring::{self, KeyringError};
use crate::private_file::{self, Durability};
use crate::verbose;

/// The version of the record's layout: another's records are none.
const LAYOUT: u32 = 1;
/// Bytes of a record.
const RECORD_MAX: u64 = 8 * 1024;

/// Where a key shall be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StoreChoice {
    /// The keyring when one answers, else a private file
    #[default]
    Auto,
    /// The operating system's keyring, or nowhere
    Keyring,
    /// A file of mode 0600
    File,
}

/// Where a key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// In the operating system's keyring.
    Keyring,
    /// In a private file.
    File,
}

/// What is known of a kept key without asking for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    layout: u32,
    server: String,
    name: Option<String>,
    digest: String,
    prefix: String,
    store: Store,
}

impl Record {
    /// The key's digest; none is left in a record that was tampered with.
    #[must_use]
    pub fn digest(&self) -> Option<KeyDigest> {
        self.digest.parse().ok()
    }

    /// What may be shown of the key.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where the key is kept.
    #[must_use]
    pub const fn store(&self) -> Store {
        self.store
    }
}

/// The place for one kept key: of an exchange, under a name or as its only one.
#[derive(Clone, Debug)]
pub struct KeptKey {
    server: String,
    name: Option<String>,
    /// Without a suffix.
    path: PathBuf,
}

impl KeptKey {
    /// The place for the key of the exchange at `base`; none when the system names no config folder. Touches nothing yet.
    #[must_use]
    pub fn of(base: &BaseUrl, name: Option<&str>) -> Option<Self> {
        let server = base.as_str().to_owned();
        let path =
            config_folder()?.join("keys").join(field_digest([server.as_str(), name.unwrap_or_default()]));
        Some(Self { server, name: name.map(str::to_owned), path })
    }

    /// The record of the kept key, when there is one that can be used. What is wrong with it in any way is none.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        let bytes = private_file::read_own(&self.record_path(), RECORD_MAX).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        let mine = record.layout == LAYOUT && record.server == self.server && record.name == self.name;
        (mine && record.digest().is_some()).then_some(record)
    }

    /// The names under which keys of the exchange at `base` are kept, in order.
    #[must_use]
    pub fn names(base: &BaseUrl) -> Vec<String> {
        let Some(entries) = config_folder().and_then(|folder| fs::read_dir(folder.join("keys")).ok()) else {
            return Vec::new();
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let records = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        let name_in = |path: PathBuf| {
            let bytes = private_file::read_own(&path, RECORD_MAX).ok()?;
            let name = serde_json::from_slice::<Record>(&bytes).ok()?.name?;
            // A file that was put there by another way says nothing.
            let is_kept = Self::of(base, Some(&name)).is_some_and(|place| place.record().is_some());
            is_kept.then_some(name)
        };
        let mut names: Vec<String> = records.filter_map(name_in).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Reads the key itself, and mends a record that tells of another. A keyring has at most this time.
    ///
    /// # Errors
    /// [`FailureKind::NoKey`], with what to mend.
    pub fn read(&self, record: &Record, limit: Duration) -> Result<PlaintextKey, Failure> {
        let key = match record.store {
            Store::File => read_file(&self.key_path())
                .map_err(|failure| failure.or_else_do("or keep the key anew with: kubectl keyplane login"))?,
            Store::Keyring => {
                let text = keyring::get(&self.entry(), limit).map_err(|error| self.unanswered(&error))?;
                check(&text, &format!("the keyring's entry {}", self.entry()))?
            }
        };
        if record.digest() != Some(key.digest()) {
            // Who cannot write it reads the key once more the next time.
            let _ = self.write_record(&key, record.store);
        }
        Ok(key)
    }

    /// Keeps the key, in the place of the one before, and removes what killed logins left. Says where, and why it is not in
    /// the keyring when it might be.
    ///
    /// # Errors
    /// [`FailureKind::File`] when it cannot be kept; what was kept before may then be gone.
    pub fn keep(&self, key: &PlaintextKey, choice: StoreChoice) -> Result<Kept, Failure> {
        self.remove_begun();
        let no_keyring = match choice {
            StoreChoice::File => None,
            StoreChoice::Auto | StoreChoice::Keyring => match keyring::set(&self.entry(), key) {
                Ok(()) => {
                    self.write_record(key, Store::Keyring).map_err(|error| self.unwritten(&error))?;
                    // One of an earlier login must not stay behind.
                    let _ = fs::remove_file(self.key_path());
                    return Ok(Kept {
                        store: Store::Keyring,
                        place: self.place(Store::Keyring),
                        no_keyring: None,
                    });
                }
                Err(error) if choice == StoreChoice::Keyring => {
                    return Err(Failure::new(
                        FailureKind::File,
                        format!("the keyring cannot keep the key: {error}"),
                        self.entry(),
                        "unlock or start the keyring, or keep the key in a private file with --store file",
                    ));
                }
                Err(error) => Some(error),
            },
        };
        if self.record().is_some_and(|record| record.store == Store::Keyring) {
            // It would be forgotten there.
            let _ = keyring::delete(&self.entry());
        }
        self.write_files(key).map_err(|error| self.unwritten(&error))?;
        Ok(Kept { store: Store::File, place: self.place(Store::File), no_keyring })
    }

    /// Removes the key, its record, and what killed logins left, and gives the record; none when nothing was kept.
    ///
    /// # Errors
    /// [`FailureKind::File`] when something cannot be removed.
    pub fn forget(&self) -> Result<Forgotten, Failure> {
        self.remove_begun();
        let record = self.record();
        let damaged = record.is_none() && self.record_path().symlink_metadata().is_ok();
        if damaged || record.as_ref().is_some_and(|record| record.store == Store::Keyring) {
            match keyring::delete(&self.entry()) {
                Ok(()) => verbose::note(format_args!("removed the keyring's entry {}", self.entry())),
                Err(KeyringError::NoEntry) => {}
                // A damaged record does not say that there is an entry.
                Err(_) if damaged => {}
                Err(error) => {
                    return Err(Failure::new(
                        FailureKind::File,
                        format!("the key cannot be removed from the keyring: {error}"),
                        self.entry(),
                        "unlock or start the keyring and run the command again",
                    ));
                }
            }
        }
        let removed = |path: PathBuf| match fs::remove_file(&path) {
            Ok(()) => {
                verbose::note(format_args!("removed {}", path.display()));
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                verbose::note(format_args!("there is no {}", path.display()));
                Ok(false)
            }
            Err(error) => Err(Failure::new(
                FailureKind::File,
                format!("the kept key cannot be removed: {error}"),
                path.display().to_string(),
                "remove this file yourself",
            )),
        };
        // The record last: while it is there, the command can be run again.
        let found = removed(self.key_path())? | removed(self.record_path())?;
        Ok(Forgotten { found, record })
    }

    /// The place in words, for a person.
    #[must_use]
    pub fn place(&self, store: Store) -> String {
        match store {
            Store::Keyring => format!("the keyring's entry {}", self.entry()),
            Store::File => self.key_path().display().to_string(),
        }
    }

    /// The name under which the keyring has it. Neither a name nor a URL that may be used holds an `@`.
    fn entry(&self) -> String {
        match &self.name {
            Some(name) => format!("{name}@{}", self.server),
            None => self.server.clone(),
        }
    }

    fn record_path(&self) -> PathBuf {
        self.path.with_extension("json")
    }

    fn key_path(&self) -> PathBuf {
        self.path.with_extension("key")
    }

    /// What a login began to write and never ended, of any key: nothing tells whose it is.
    fn remove_begun(&self) {
        if let Some(folder) = self.path.parent() {
            private_file::remove_begun(folder);
        }
    }

    /// The key first: a record of a key that is not there would be an error at every start.
    fn write_files(&self, key: &PlaintextKey) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            private_file::ensure_folder(folder)?;
        }
        private_file::replace(&self.key_path(), key.expose().as_bytes(), Durability::Durable)?;
        self.write_record(key, Store::File)
    }

    fn write_record(&self, key: &PlaintextKey, store: Store) -> io::Result<()> {
        let record = Record {
            layout: LAYOUT,
            server: self.server.clone(),
            name: self.name.clone(),
            digest: key.digest().to_string(),
            prefix: key.prefix().to_string(),
            store,
        };
        if let Some(folder) = self.path.parent() {
            private_file::ensure_folder(folder)?;
        }
        private_file::replace(&self.record_path(), &serde_json::to_vec(&record)?, Durability::Durable)
    }

    fn unwritten(&self, error: &io::Error) -> Failure {
        let folder = self.path.parent().unwrap_or(&self.path);
        Failure::new(
            FailureKind::File,
            format!("the key cannot be kept: {error}"),
            folder.display().to_string(),
            "make this folder yours alone (mode 0700), or set KEYPLANE_CONFIG_DIR to another",
        )
    }

    fn unanswered(&self, error: &KeyringError) -> Failure {
        Failure::new(
            FailureKind::NoKey,
            format!("the keyring does not give the kept key: {error}"),
            self.entry(),
            "unlock or start the keyring, or keep the key anew with: kubectl keyplane login",
        )
    }
}

/// That a key was kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Where.
    pub store: Store,
    /// Where, in words.
    pub place: String,
    /// Why it is not in the keyring, when that was tried.
    pub no_keyring: Option<KeyringError>,
}

/// What was removed.
#[derive(Clone, Debug)]
pub struct Forgotten {
    /// Whether there was anything.
    pub found: bool,
    /// The record of the key, when it could be read.
    pub record: Option<Record>,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyring => "the operating system's keyring",
            Self::File => "a private file",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::KeptKey;
    use crate::exchange::address::BaseUrl;

    #[test]
    fn each_exchange_and_name_has_a_place_of_its_own() {
        let [one, two] =
            ["https://one.example", "https://two.example"].map(|url| BaseUrl::parse(url).unwrap());
        let places = [(&one, None), (&one, Some("acme")), (&two, None), (&two, Some("acme"))]
            .map(|(base, name)| KeptKey::of(base, name).unwrap());
        for (at, place) in places.iter().enumerate() {
            for other in places.iter().skip(at + 1) {
                assert_ne!(place.path, other.path);
                assert_ne!(place.entry(), other.entry());
            }
        }
    }
}
