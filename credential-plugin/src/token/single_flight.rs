//! One start of many asks the exchange; the others wait until it has an answer, and take that.
//!
//! The right to ask is a lock on an empty file beside the slot. The kernel frees it when its holder ends in whatever
//! way, so a holder that is killed blocks nobody. Two who hold a lock on two files of the same name would both ask; so the
//! file is removed only with a slot that nobody has used for [long](crate::token::dead_slots), and then that is all
//! that can come of it.
//!
//! Who waits asks for a shared lock, and gives it back at once: when the holder ends, the kernel wakes all of them
//! together, and none waits for another one's turn. Only those for whom the holder left no answer line up to ask.
//!
//! A holder that ends without an answer that others can find (the disk is full, say) marks the lock's file: those who
//! waited meanwhile then ask at once, each for itself, since a line would only add up their times. The mark is the
//! file's time, which needs no room. A holder that was killed leaves no mark: then one of the line asks.
//!
//! A holder that is merely stopped (Ctrl-Z) keeps its lock. So patience with it ends after a third of the time limit;
//! one of those who wait then asks under a second lock. Where locks do not work, everybody asks for themselves.

use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::private_file;
use crate::verbose;

/// The right to ask the exchange. It is given back when dropped, at the latest by the kernel when the process ends.
#[derive(Debug)]
pub struct Flight {
    lock: Option<File>,
}

impl Flight {
    /// The right of a start for which there is no lock.
    #[must_use]
    pub const fn without_lock() -> Self {
        Self { lock: None }
    }

    /// Tells those who wait that there will be nothing for them to find.
    pub fn left_nothing(&self) {
        if let Some(lock) = &self.lock {
            // Without a mark they line up.
            let _ = lock.set_modified(SystemTime::now());
        }
    }
}

/// Whose turn it is to ask the exchange.
#[derive(Debug)]
pub enum Turn<T> {
    /// Another start's answer is there.
    Landed(T),
    /// This start's.
    Lead(Flight),
    /// Another start's, and it has no answer within the time limit.
    TimedOut,
}

/// The locks of one slot.
#[derive(Clone, Debug)]
pub struct SingleFlight {
    first: PathBuf,
    second: PathBuf,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// That nobody holds the lock.
    Free,
    /// That this start holds it.
    Held,
}

/// How a wait ended.
enum Waited {
    Done(File),
    TimedOut,
    NoLocks,
}

impl SingleFlight {
    /// The flight with these lock files, of which the second is made only when the first one's holder is stuck.
    #[must_use]
    pub fn new(first: PathBuf, second: PathBuf) -> Self {
        Self { first, second }
    }

    /// The right to ask, if nobody has it and locks work. Never waits.
    #[must_use]
    pub fn try_lead(&self) -> Option<Flight> {
        let file = private_file::open_to_lock(&self.first).ok()?;
        file.try_lock().ok()?;
        Some(Flight { lock: Some(file) })
    }

    /// Gets the right to ask, or waits for whoever has it; at most `limit` together, of which `patience` with the first
    /// holder.
    ///
    /// `landed` looks for an answer that another start left. It is asked once more under the lock, so that no start
    /// asks what was answered in between.
    pub fn lead_or_wait<T>(
        &self,
        limit: Duration,
        patience: Duration,
        landed: impl Fn() -> Option<T>,
    ) -> Turn<T> {
        let started = Instant::now();
        let left = |of: Duration| of.saturating_sub(started.elapsed());
        let lead = |file: File, mark: Option<SystemTime>| match landed() {
            Some(answer) => Turn::Landed(answer),
            None if mark_of(&file) == mark => Turn::Lead(Flight { lock: Some(file) }),
            None => unanswered(),
        };
        let Ok(file) = private_file::open_to_lock(&self.first) else {
            return alone();
        };
        let mark = mark_of(&file);
        match file.try_lock() {
            // Whoever marked it meanwhile was not waited for.
            Ok(()) => return landed().map_or(Turn::Lead(Flight { lock: Some(file) }), Turn::Landed),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(_)) => return alone(),
        }
        verbose::note("another start asks the exchange; waiting for its answer");
        match wait(file, Until::Free, left(patience.min(limit))) {
            Waited::Done(file) => {
                if let Some(answer) = landed() {
                    return Turn::Landed(answer);
                }
                if mark_of(&file) != mark {
                    return unanswered();
                }
                verbose::note("that start ended without an answer for this one; waiting to ask");
                match wait(file, Until::Held, left(patience.saturating_mul(2).min(limit))) {
                    Waited::Done(file) => return lead(file, mark),
                    Waited::TimedOut => {}
                    Waited::NoLocks => return alone(),
                }
            }
            Waited::TimedOut => {}
            Waited::NoLocks => return alone(),
        }
        verbose::note("that takes long; waiting to ask beside it");
        let Ok(file) = private_file::open_to_lock(&self.second) else {
            return alone();
        };
        let mark = mark_of(&file);
        match wait(file, Until::Held, left(limit)) {
            Waited::Done(file) => lead(file, mark),
            Waited::TimedOut => Turn::TimedOut,
            Waited::NoLocks => alone(),
        }
    }
}

/// When a holder last left nothing, or the file was made. Who cannot know it sees no change.
fn mark_of(file: &File) -> Option<SystemTime> {
    file.metadata().and_then(|metadata| metadata.modified()).ok()
}

fn unanswered<T>() -> Turn<T> {
    verbose::note("that start could leave no answer for others; asking without waiting for more");
    Turn::Lead(Flight::without_lock())
}

fn alone<T>() -> Turn<T> {
    verbose::note("no file can be locked here; asking without waiting for others");
    Turn::Lead(Flight::without_lock())
}

/// Waits for the lock. The system has no lock with a time limit, so a thread waits in our stead; what one that is left
/// behind gets, it gives back at once.
fn wait(file: File, until: Until, limit: Duration) -> Waited {
    let (sender, receiver) = mpsc::sync_channel(1);
    let waiting = thread::Builder::new().name("lock".to_owned()).spawn(move || {
        let done = loop {
            let result = match until {
                Until::Free => file.lock_shared().and_then(|()| file.unlock()),
                Until::Held => file.lock(),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        // Nobody listens any more when the time was over.
        let _ = sender.send(done.map(|()| file));
    });
    if waiting.is_err() {
        return Waited::NoLocks;
    }
    match receiver.recv_timeout(limit) {
        Ok(Ok(file)) => Waited::Done(file),
        Err(mpsc::RecvTimeoutError::Timeout) => Waited::TimedOut,
        Ok(Err(_)) | Err(mpsc::RecvTimeoutError::Disconnected) => Waited::NoLocks,
    }
}
