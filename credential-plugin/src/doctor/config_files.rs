//! The kubeconfig's files: one that holds a key is as secret as the key.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::doctor::finding::Finding;
use crate::doctor::shell::quoted_path;
use crate::kubeconfig::current::ContextArgs;
use crate::kubeconfig::destination::Files;
use crate::private_file::{is_open_to_others, read_bounded};
use crate::secret_text::without_keys;

/// Bytes of a kubeconfig that are looked at.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// A file of the kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// Its path.
    pub path: PathBuf,
    /// Whether others than its owner may read or change it.
    pub open_to_others: bool,
    /// Whether something in it looks like a key.
    pub holds_key: bool,
}

pub(super) fn observe(args: &ContextArgs) -> Vec<ConfigFile> {
    let files = Files::named(args.kubeconfig.as_deref());
    files.iter().flat_map(Files::paths).filter_map(|path| look_at(path)).collect()
}

fn look_at(path: &Path) -> Option<ConfigFile> {
    let file = File::open(path).ok()?;
    let open_to_others = is_open_to_others(&file.metadata().ok()?);
    let bytes = read_bounded(file, FILE_MAX).ok()?;
    let holds_key = std::str::from_utf8(&bytes).is_ok_and(|text| without_keys(text) != text);
    Some(ConfigFile { path: path.to_owned(), open_to_others, holds_key })
}

/// Whether a key lies open in one of the files.
#[must_use]
pub fn judge(files: &[ConfigFile]) -> Vec<Finding> {
    const CHECK: &str = "kubeconfig-files";
    let open: Vec<Finding> = files
        .iter()
        .filter(|file| file.holds_key && file.open_to_others)
        .map(|file| {
            Finding::problem(
                CHECK,
                format!("{} holds an API key, and other users may read or change it", file.path.display()),
                format!("chmod 600 {}; and have the key rotated", quoted_path(&file.path)),
            )
        })
        .collect();
    if !open.is_empty() {
        return open;
    }
    if files.is_empty() {
        return vec![Finding::not_checked(CHECK, "no file of the kubeconfig can be read")];
    }
    let names: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
    vec![Finding::ok(CHECK, format!("no key lies open in {}", names.join(", ")))]
}
