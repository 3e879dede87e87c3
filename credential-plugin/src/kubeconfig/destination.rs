//! Into which files entries go, by kubectl's own rules, and what that changes.

use std::env;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::{Failure, FailureKind};
use crate::kubeconfig::conflict;
use crate::kubeconfig::document::Edited;
use crate::kubeconfig::entries::{Entries, Section};
use crate::kubeconfig::file::{ReadFile, ensure_folder_of};
use crate::kubeconfig::home::home_folder;
use crate::kubeconfig::lock::Locks;
use crate::kubeconfig::merge::{Permission, merge};

/// The environment variable with kubectl's list of kubeconfigs.
pub const KUBECONFIG_VARIABLE: &str = "KUBECONFIG";

/// The files of one kubeconfig, those that count more first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files(Vec<PathBuf>);

impl Files {
    /// One file.
    #[must_use]
    pub fn one(path: &Path) -> Self {
        Self(vec![path.to_owned()])
    }

    /// The files of a list as in `KUBECONFIG`; none when it names none.
    #[must_use]
    pub fn of_list(list: &std::ffi::OsStr) -> Option<Self> {
        let mut files: Vec<PathBuf> = Vec::new();
        for file in env::split_paths(list).filter(|file| !file.as_os_str().is_empty()) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        (!files.is_empty()).then_some(Self(files))
    }

    /// The user's own: those that `KUBECONFIG` lists, else `~/.kube/config`.
    ///
    /// # Errors
    /// [`FailureKind::File`] when there is neither the variable nor a home folder.
    pub fn own() -> Result<Self, Failure> {
        if let Some(files) = env::var_os(KUBECONFIG_VARIABLE).and_then(|list| Self::of_list(&list)) {
            return Ok(files);
        }
        home_folder().map_or_else(
            || {
                Err(Failure::new(
                    FailureKind::File,
                    "there is no home folder, and so no kubeconfig in it",
                    KUBECONFIG_VARIABLE,
                    "set KUBECONFIG, or give the file with --merge-into",
                ))
            },
            |home| Ok(Self(vec![home.join(".kube").join("config")])),
        )
    }

    /// The one that is named with `--kubeconfig`, else the user's own.
    ///
    /// # Errors
    /// As [`own`](Self::own).
    pub fn named(kubeconfig: Option<&Path>) -> Result<Self, Failure> {
        kubeconfig.map_or_else(Self::own, |path| Ok(Self::one(path)))
    }

    /// Their paths, those that count more first.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.0
    }

    /// Where kubectl puts what is new: into the first of several files that exists, else into the last
    /// (`GetDefaultFilename` of client-go).
    fn default_file(&self) -> Option<&PathBuf> {
        self.0.iter().find(|file| file.exists()).or(self.0.last())
    }

    /// Finds out what the entries would change, without a lock and without a change.
    ///
    /// # Errors
    /// [`FailureKind::File`] when a file cannot be read, or as [`merge`].
    pub fn preview(&self, entries: &Entries, permission: Permission) -> Result<Vec<FileChange>, Failure> {
        self.changes(entries, permission)
    }

    /// Merges the entries under kubectl's locks: each into the file in which one of its name stands (the first of them),
    /// else into the default file, and so the current context. What would change nothing is not written. What holds the
    /// key itself becomes `private`.
    ///
    /// # Errors
    /// As [`Self::preview`], or when a file cannot be locked or written. A conflict in one file leaves all untouched.
    pub fn merge(
        &self,
        entries: &Entries,
        permission: Permission,
        private: bool,
    ) -> Result<Vec<FileChange>, Failure> {
        self.default_file().map_or(Ok(()), |file| ensure_folder_of(file))?;
        let _locks = Locks::take(&self.0)?;
        let mut changes = self.changes(entries, permission)?;
        for change in changes.iter_mut().filter(|change| change.is_change()) {
            let private = private && change.entries.user.is_some();
            change.backup = change.file.replace(&change.edited.text, private)?;
            change.is_open_to_others = change.is_open_to_others && !private;
        }
        Ok(changes)
    }

    fn changes(&self, entries: &Entries, permission: Permission) -> Result<Vec<FileChange>, Failure> {
        let files = self.0.iter().map(|path| ReadFile::read(path)).collect::<Result<Vec<_>, _>>()?;
        if !permission.replace {
            // All files at once: one name for each entry that is in the way must be enough.
            let places: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
            let read: Vec<_> = places
                .iter()
                .map(String::as_str)
                .zip(files.iter().map(|file| file.document.value()))
                .collect();
            conflict::refuse(&read, entries)?;
        }
        let default = self.default_file();
        let has_current = files.iter().any(|file| {
            let current = file.document.value().get("current-context").and_then(Value::as_str);
            current.is_some_and(|current| !current.is_empty())
        });
        let home_of = |section: Section, name: &str| {
            let found = files.iter().find(|file| section.entry(file.document.value(), name).is_some());
            found.map(|file| &file.path).or(default).cloned()
        };
        let homes: Vec<_> = entries
            .names()
            .into_iter()
            .map(|(section, name)| (section, name, home_of(section, name)))
            .collect();
        let mut changes = Vec::new();
        for file in files {
            let is_here = |section, name: &str| {
                homes
                    .iter()
                    .any(|(s, n, home)| (*s, *n) == (section, name) && home.as_ref() == Some(&file.path))
            };
            let mut part = entries.part(is_here);
            if default == Some(&file.path) && (permission.set_current || !has_current) {
                part.current_context.clone_from(&entries.current_context);
            }
            if !part.is_empty() {
                changes.push(FileChange::of(file, part, permission)?);
            }
        }
        Ok(changes)
    }
}

/// What entries change in a file.
#[derive(Debug)]
pub struct FileChange {
    /// The entries that go into it.
    pub entries: Entries,
    /// Where what it held before is kept, after it was changed.
    pub backup: Option<PathBuf>,
    /// Whether other users can read or change it.
    pub is_open_to_others: bool,
    file: ReadFile,
    new: Value,
    edited: Edited,
}

impl FileChange {
    fn of(file: ReadFile, entries: Entries, permission: Permission) -> Result<Self, Failure> {
        let place = file.path.display().to_string();
        let new = merge(file.document.value().clone(), &entries, permission, &place)?;
        let edited = file.document.edited(&new)?;
        let is_open_to_others = file.is_open_to_others();
        Ok(Self { entries, backup: None, is_open_to_others, file, new, edited })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Whether there was such a file.
    #[must_use]
    pub const fn existed(&self) -> bool {
        self.file.exists()
    }

    /// Whether the file's text becomes another.
    #[must_use]
    pub fn is_change(&self) -> bool {
        !self.file.holds(&self.edited.text)
    }

    /// Whether all but the entries' own lines stay as they are.
    #[must_use]
    pub const fn keeps_layout(&self) -> bool {
        self.edited.layout_kept
    }

    /// What becomes of each of the entries: the section, the name, and what is done.
    #[must_use]
    pub fn effects(&self) -> Vec<(Section, &str, Effect)> {
        let old = self.file.document.value();
        let effect = |section: Section, name| match section.entry(old, name) {
            None => Effect::Added,
            entry if entry == section.entry(&self.new, name) => Effect::Unchanged,
            Some(_) => Effect::Changed,
        };
        self.entries
            .names()
            .into_iter()
            .map(|(section, name)| (section, name, effect(section, name)))
            .collect()
    }

    /// The entries as they stand there after the change.
    #[must_use]
    pub fn merged(&self) -> Vec<(Section, &Value)> {
        let entry = |(section, name): (Section, &str)| Some((section, section.entry(&self.new, name)?));
        self.entries.names().into_iter().filter_map(entry).collect()
    }

    /// The file's current context after the change.
    #[must_use]
    pub fn current_context(&self) -> Option<&str> {
        self.new.get("current-context").and_then(Value::as_str)
    }

    /// The file's current context, if it becomes another.
    #[must_use]
    pub fn new_current_context(&self) -> Option<&str> {
        let new = self.new.get("current-context")?;
        if self.file.document.value().get("current-context") == Some(new) { None } else { new.as_str() }
    }
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// There was none of this name.
    Added,
    /// It says something else than before.
    Changed,
    /// It said the same before.
    Unchanged,
}

impl Effect {
    /// For a person.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        }
    }
}
