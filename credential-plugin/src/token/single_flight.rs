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
//! one of those who wait then asks under a second lock. That one may be stopped too: who has waited as long for the second
//! asks alone, with the last third for it, unless somebody works. A holder that works says so ten times a second in the
//! time of last access of the lock's file, which needs no room either, and which a stopped one cannot set. While one does,
//! the others wait to the end of their limit, and a slow exchange does not meet all of them. Where a file system keeps no
//! such times, nobody is known to work. Where locks do not work, everybody asks for themselves.

use std::fs::{self, File, FileTimes, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::failure::Failure;
use crate::private_file;
use crate::verbose;

/// How often a holder says that it works.
const WORKS_EVERY: Duration = Duration::from_millis(100);
/// How long a holder that works may say nothing, on a machine that has much to do.
const SILENCE: Duration = Duration::from_secs(3);
/// How often those who wait beside a holder look whether somebody works, and for an answer that they are not woken for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The right to ask the exchange. It is given back when dropped, at the latest by the kernel when the process ends.
#[derive(Debug)]
pub struct Flight {
    lock: Option<Arc<File>>,
}

impl Flight {
    /// The right of a start for which there is no lock.
    #[must_use]
    pub const fn without_lock() -> Self {
        Self { lock: None }
    }

    /// The right of whoever holds this lock; until it is given back, the others see that this process works.
    fn with_lock(lock: File) -> Self {
        let lock = Arc::new(lock);
        let held = Arc::downgrade(&lock);
        // Without the thread the others only ask sooner.
        let _ = thread::Builder::new().name("works".to_owned()).spawn(move || say_that_it_works(&held));
        Self { lock: Some(lock) }
    }

    /// Tells those who wait that there will be nothing for them to find.
    pub fn left_nothing(&self) {
        if let Some(lock) = &self.lock {
            // Without a mark they line up.
            let _ = lock.set_modified(SystemTime::now());
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            // Now, and not when the thread has done with it. What cannot be unlocked is closed soon.
            let _ = lock.unlock();
        }
    }
}

fn say_that_it_works(lock: &Weak<File>) {
    while let Some(lock) = lock.upgrade() {
        let _ = lock.set_times(FileTimes::new().set_accessed(SystemTime::now()));
        drop(lock);
        thread::sleep(WORKS_EVERY);
    }
}

/// Whose turn it is to ask the exchange.
#[derive(Debug)]
pub enum Turn<T> {
    /// Another start's answer is there.
    Landed(Result<T, Failure>),
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
        Some(Flight::with_lock(file))
    }

    /// Gets the right to ask, or waits for whoever has it; at most `limit` together, of which `patience` with the first
    /// holder, and as much with one beside it unless one of both works.
    ///
    /// `landed` looks for an answer that another start left. It is asked once more under the lock, so that no start
    /// asks what was answered in between.
    pub fn lead_or_wait<T>(
        &self,
        limit: Duration,
        patience: Duration,
        landed: impl Fn() -> Option<Result<T, Failure>>,
    ) -> Turn<T> {
        let started = Instant::now();
        let left = |of: Duration| of.saturating_sub(started.elapsed());
        let Ok(file) = private_file::open_to_lock(&self.first) else {
            return alone();
        };
        let mark = mark_of(&file);
        match file.try_lock() {
            // Whoever marked it meanwhile was not waited for.
            Ok(()) => return landed().map_or_else(|| Turn::Lead(Flight::with_lock(file)), Turn::Landed),
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
                    Waited::Done(file) => return lead(file, mark, landed),
                    Waited::TimedOut => {}
                    Waited::NoLocks => return alone(),
                }
            }
            Waited::TimedOut => {}
            Waited::NoLocks => return alone(),
        }
        verbose::note("that takes long; waiting to ask beside it");
        self.lead_beside(left(limit), left(patience.saturating_mul(2)), landed)
    }

    /// Gets the right to ask beside a holder that has it for long; waits for it for `patience`, or half of the `limit` if
    /// that is longer, and to the end of the `limit` while somebody works.
    fn lead_beside<T>(
        &self,
        limit: Duration,
        patience: Duration,
        landed: impl Fn() -> Option<Result<T, Failure>>,
    ) -> Turn<T> {
        let started = Instant::now();
        let patience = patience.max(limit / 2);
        let Ok(file) = private_file::open_to_lock(&self.second) else {
            return alone();
        };
        let mark = mark_of(&file);
        let waiting = Waiting::start(file, Until::Held);
        let (mut signs, mut latest_sign) = (self.signs_of_work(), started);
        loop {
            let left = limit.saturating_sub(started.elapsed());
            match waiting.within(left.min(LOOK_EVERY).min(patience / 4)) {
                Waited::Done(file) => return lead(file, mark, landed),
                Waited::TimedOut => {}
                Waited::NoLocks => return alone(),
            }
            // A failure of the first one is not that of the second.
            if let Some(Ok(answer)) = landed() {
                return Turn::Landed(Ok(answer));
            }
            let now_signs = self.signs_of_work();
            if now_signs != signs {
                (signs, latest_sign) = (now_signs, Instant::now());
            }
            if started.elapsed() >= limit {
                return landed().map_or(Turn::TimedOut, Turn::Landed);
            }
            if started.elapsed() >= patience && latest_sign.elapsed() >= SILENCE {
                verbose::note("nobody who has the right to ask seems to work; asking without it");
                return Turn::Lead(Flight::without_lock());
            }
        }
    }

    /// When a holder of each lock last said that it works.
    fn signs_of_work(&self) -> [Option<SystemTime>; 2] {
        let sign = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.accessed()).ok();
        [sign(&self.first), sign(&self.second)]
    }
}

/// What becomes of a start that has got the lock for which it waited since its file had this mark.
fn lead<T>(file: File, mark: Option<SystemTime>, landed: impl Fn() -> Option<Result<T, Failure>>) -> Turn<T> {
    match landed() {
        Some(answer) => Turn::Landed(answer),
        None if mark_of(&file) == mark => Turn::Lead(Flight::with_lock(file)),
        None => unanswered(),
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

/// Waits for the lock, at most this long.
fn wait(file: File, until: Until, limit: Duration) -> Waited {
    Waiting::start(file, until).within(limit)
}

/// A wait for a lock. The system has no lock with a time limit, so a thread waits in our stead; what one that is left
/// behind gets, it gives back at once.
struct Waiting(mpsc::Receiver<io::Result<File>>);

impl Waiting {
    fn start(file: File, until: Until) -> Self {
        let (sender, receiver) = mpsc::sync_channel(1);
        let waiting = move || {
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
        };
        // Where there is no thread, its sender is gone, which says so.
        let _ = thread::Builder::new().name("lock".to_owned()).spawn(waiting);
        Self(receiver)
    }

    /// How it ends; it may be asked again while the time was over.
    fn within(&self, limit: Duration) -> Waited {
        match self.0.recv_timeout(limit) {
            Ok(Ok(file)) => Waited::Done(file),
            Err(mpsc::RecvTimeoutError::Timeout) => Waited::TimedOut,
            Ok(Err(_)) | Err(mpsc::RecvTimeoutError::Disconnected) => Waited::NoLocks,
        }
    }
}
