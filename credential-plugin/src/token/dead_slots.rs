//! Slots that nobody uses any more, such as those of keys that were rotated, are removed when another slot has got a
//! token. So the folder does not grow for ever, and a warm start has no part in it.
//!
//! Some thousand names in the folder are looked at. Only files with the names of a slot are touched, only a few slots at
//! a time, and only when the slot's token ended over a day ago; a slot without a token's file, when nothing of it was
//! written in as long. A token's file that is not what the plugin writes for this slot is left alone, and its slot with
//! it.
//!
//! With them go the files of starts that were killed while they wrote.
//!
//! It is done under the slot's lock, and the lock's file goes last. Who uses the slot just then meets one of these:
//! - It holds the lock: the slot is left alone.
//! - It has opened the lock's file and gets the lock when the file is gone, while another start makes a new one: both
//!   ask the exchange, each puts its own whole answer into the token's place in one step, and either is right.
//! - It works without a lock and writes in between: the new token may be removed, and the next start asks again.
//!
//! A clock that is a day ahead makes all slots look dead. That costs each of them one question to the exchange.
//!
//! Nothing is handed out that would not be otherwise: what is removed was dead, and what is missing is asked for. The
//! folder is one in which this user alone may write; a link in it is removed, not followed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use crate::private_file;
use crate::token::cache::{Slot, TokenCache};

/// How long a slot must have been dead.
pub const DEAD_FOR: TimeDelta = TimeDelta::days(1);
/// Names in the folder that are listed: other files stand there too, and each command has some.
const NAMES: usize = 4096;
/// Slots of which files are opened.
const SLOTS: usize = 8;
/// The endings of a slot's files: the token's first, since without it the rest is nothing, and the lock's last.
const ENDINGS: [&str; 5] = ["json", "handed", "failed", "lock2", "lock"];

/// Removes a few slots that are dead, but not the one that is `used`, and what was begun and not ended. Whether that
/// worked matters to nobody.
pub fn remove(folder: &Path, used: &Slot, now: DateTime<Utc>) {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().take(NAMES);
    let mut slots: Vec<Slot> = names
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (slot, ending) = name.split_once('.')?;
            if ENDINGS.contains(&ending) { Slot::parse(slot) } else { None }
        })
        .filter(|slot| slot != used)
        .collect();
    slots.sort_unstable_by(|one, other| one.name().cmp(other.name()));
    slots.dedup();
    // Not always the same ones: the first may be alive.
    let first = usize::try_from(now.timestamp_subsec_nanos()).unwrap_or_default() % slots.len().max(1);
    let from_first = slots.iter().cycle().skip(first).take(slots.len().min(SLOTS));
    if private_file::ensure_folder(folder).is_ok() {
        private_file::remove_begun(folder);
        for slot in from_first {
            remove_dead(folder, slot, now);
        }
    }
}

fn remove_dead(folder: &Path, slot: &Slot, now: DateTime<Utc>) {
    // Most slots are alive: they are not locked even for a moment.
    if !is_dead(folder, slot, now) {
        return;
    }
    let locks = ["lock", "lock2"].map(|ending| lock(&slot.file(folder, ending)));
    if locks.iter().all(|lock| !matches!(lock, Lock::Held)) && is_dead(folder, slot, now) {
        for ending in ENDINGS {
            let _ = fs::remove_file(slot.file(folder, ending));
        }
    }
}

/// Whether the slot's token ended long ago or, without one, nothing of it was written for long.
fn is_dead(folder: &Path, slot: &Slot, now: DateTime<Utc>) -> bool {
    let token = TokenCache::new(folder.to_owned(), slot.clone());
    match token.ended_at(now) {
        Some(ended) => now.signed_duration_since(ended) > DEAD_FOR,
        None => ENDINGS.iter().all(|ending| is_old(&slot.file(folder, ending), ending, now)),
    }
}

/// Whether a file beside the token's is not there, or was not written for long. A token's file is not judged by that.
fn is_old(path: &PathBuf, ending: &str, now: DateTime<Utc>) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return true };
    let written = metadata.modified().map(DateTime::<Utc>::from);
    ending != "json"
        && metadata.is_file()
        && written.is_ok_and(|written| now.signed_duration_since(written) > DEAD_FOR)
}

/// A slot's lock, while a slot is removed.
enum Lock {
    /// Nobody has it, or this process.
    Free { _file: Option<File> },
    /// Another has it, or that cannot be known.
    Held,
}

fn lock(path: &Path) -> Lock {
    if fs::symlink_metadata(path).is_err() {
        return Lock::Free { _file: None };
    }
    match private_file::open_to_lock(path) {
        Ok(file) if file.try_lock().is_ok() => Lock::Free { _file: Some(file) },
        _ => Lock::Held,
    }
}
