//! Of many starts one runs the key command: it may ask a person, whom one question is enough.
//!
//! The right to run it is the right to ask the exchange too: a lock that stands for the command's text and the cluster,
//! and that its holder keeps from before the command until the token is cached. So there is one lock, and no order of
//! two. Who waits finds the note of which key the command gave, and then that key's token; the key itself is in no file.
//!
//! That the command failed counts for a short time for the others too, by the rules of
//! [failures](crate::token::failure_memory), where it may take no longer and finds the same variables and folder: in
//! another shell it may work.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use keyplane_core::key_format::{KeyDigest, PlaintextKey};

use crate::exchange::address::ExchangeAddress;
use crate::exec_protocol::Cluster;
use crate::failure::{Failure, FailureKind};
use crate::key_source::{FirstRun, FoundKey, KeyCommand, Source, surroundings};
use crate::private_file;
use crate::token::cache::Slot;
use crate::token::failure_memory::{FailureMemory, LONGEST_ASKED_PAUSE};
use crate::token::obtain::{EARLY_REFRESH_LIMIT, KeyTime};
use crate::token::single_flight::{Flight, SingleFlight, Turn};
use crate::token::way::Way;
use crate::verbose;

/// One key command, of all starts for one cluster.
#[derive(Debug)]
pub struct SharedRun {
    folder: PathBuf,
    slot: Slot,
    limit: Duration,
    program: String,
}

impl SharedRun {
    /// The runs of this command for this exchange and cluster; none without a cache folder. Touches nothing yet.
    #[must_use]
    pub fn of(
        command: &KeyCommand,
        folder: Option<&Path>,
        exchange: &ExchangeAddress,
        cluster: Option<&Cluster>,
    ) -> Option<Self> {
        // Which key it gives is not known before: the command stands in the key's place.
        let slot = Slot::of(exchange, KeyDigest::of(command.id()?.as_bytes()), cluster);
        let (limit, program) = (command.limit(), command.program().to_owned());
        Some(Self { folder: folder?.to_owned(), slot, limit, program })
    }

    /// Who of many runs it, and asks the exchange.
    #[must_use]
    pub fn locks(&self) -> SingleFlight {
        let file = |extension| self.slot.file(&self.folder, extension);
        SingleFlight::new(file("command-lock"), file("command-lock2"))
    }

    /// The failure of another start's run, if it counts for this one now.
    #[must_use]
    pub fn told_again(&self) -> Option<Failure> {
        self.failures().read()?.told_again(&way(self.limit), Utc::now())
    }

    /// Runs the command of which no key is noted, unless another start does, for which it waits: for a stuck one as long
    /// as the command and a part of the `timeout`, for all of them as long as two commands and the `timeout`. A run of its
    /// own comes on top, with the command's whole time. The right to run it is left in `held`.
    ///
    /// # Errors
    /// The command's failure, met now or a moment ago by another start; [`FailureKind::NoKey`] when another start has no
    /// key in time.
    pub fn first(
        &self,
        command: &KeyCommand,
        timeout: Duration,
        held: &RefCell<Option<Flight>>,
    ) -> Result<FirstRun, Failure> {
        let landed = || match command.noted_digest() {
            Some(digest) => Some(Ok(digest)),
            None => self.told_again().map(Err),
        };
        let turn = if private_file::ensure_folder(&self.folder).is_err() {
            Turn::Lead(Flight::without_lock())
        } else if let Some(answer) = landed() {
            Turn::Landed(answer)
        } else {
            let limit = self.limit.saturating_mul(2) + timeout;
            self.locks().lead_or_wait(limit, self.limit + timeout / 3, landed)
        };
        match turn {
            Turn::Landed(answer) => {
                verbose::note("another start has run the key command");
                answer.map(FirstRun::Noted)
            }
            Turn::TimedOut => Err(Failure::new(
                FailureKind::NoKey,
                "another start of kubectl-keyplane runs the key command and has no key in time",
                format!("--key-command {}", self.program),
                "try again, or run it on your own with --no-cache",
            )),
            Turn::Lead(flight) => {
                let key = self.remembered(command.first_read(), false);
                if key.is_err() && landed().is_none() {
                    flight.left_nothing();
                }
                held.replace(Some(flight));
                key.map(FirstRun::Key)
            }
        }
    }

    /// The key, by a run of the command if it has not run yet. An early run rests longer when it fails: nobody
    /// needs its key yet, and a question that comes and goes is a nuisance.
    ///
    /// # Errors
    /// The command's failure, met now or, by another early run, a moment ago.
    pub fn read<'a>(&self, key: &'a FoundKey, time: KeyTime) -> Result<&'a PlaintextKey, Failure> {
        if key.is_read() {
            return key.read();
        }
        let KeyTime::Early(limit) = time else {
            return self.remembered(key.read(), false);
        };
        let rests = self
            .failures()
            .read()
            .is_some_and(|failure| failure.counts_for(&way(self.limit.min(limit)), Utc::now()));
        if rests {
            return Err(Failure::new(
                FailureKind::NoKey,
                "the key command failed a moment ago",
                format!("--key-command {}", self.program),
                "run it by hand to see why",
            ));
        }
        let pause = Some(LONGEST_ASKED_PAUSE.to_std().unwrap_or_default());
        self.remembered(key.read_within(limit).map_err(|failure| failure.asking_for_a_pause(pause)), true)
    }

    /// Gives back the right to run it. Who waits without a note to find is told not to.
    pub fn release(&self, flight: Flight, key: &FoundKey) {
        if let Source::Command(command) = key.source()
            && command.noted_digest().is_none()
        {
            flight.left_nothing();
        }
        drop(flight);
    }

    fn remembered<T>(&self, result: Result<T, Failure>, early: bool) -> Result<T, Failure> {
        match &result {
            Ok(_) => self.failures().clear(),
            Err(failure) if private_file::ensure_folder(&self.folder).is_ok() => {
                let limit = if early { self.limit.min(EARLY_REFRESH_LIMIT) } else { self.limit };
                self.failures().remember(failure, early, way(limit), Utc::now());
            }
            Err(_) => {}
        }
        result
    }

    fn failures(&self) -> FailureMemory {
        FailureMemory::of_key_command(
            self.slot.file(&self.folder, "command-failed"),
            self.slot.name().to_owned(),
        )
    }
}

/// How this start runs a key command that may take this long.
fn way(limit: Duration) -> Way {
    Way::of_key_command(surroundings::digest(), limit)
}
