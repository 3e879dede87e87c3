//! One start of `get-token`: its key, its way to the exchange, and its place among other starts.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::{Duration, Instant};

use keyplane_core::key_format::KeyDigest;
use ureq::Proxy;

use crate::environment;
use crate::exchange::address::ExchangeAddress;
use crate::exchange::client;
use crate::exchange::proxy;
use crate::exec_protocol::{ApiVersion, Cluster};
use crate::failure::{Failure, FailureKind};
use crate::key_source::shared_run::SharedRun;
use crate::key_source::{self, FirstRun, FoundKey, KeyArgs, KeyCommand, Source};
use crate::token::BearerToken;
use crate::token::cache::{Slot, TokenCache};
use crate::token::life::TokenLife;
use crate::token::obtain::{self, Asking, KeyTime, Start};
use crate::token::single_flight::{Flight, SingleFlight};

/// What a start works with.
pub struct ThisStart<'a> {
    exchange: &'a ExchangeAddress,
    cluster: Option<&'a Cluster>,
    api_version: ApiVersion,
    key: FoundKey,
    /// Of all starts with this key command; none for another source, or without a folder.
    shared_run: Option<SharedRun>,
    /// Which key's slot is filled. Some sources only say which key they had the last time.
    slots_key: Cell<KeyDigest>,
    own_run: Cell<Option<Instant>>,
    held: RefCell<Option<Flight>>,
}

impl<'a> ThisStart<'a> {
    /// Finds the key. A key command that nobody has run yet may be run for it, or waited for, within the `timeout` and
    /// its own.
    ///
    /// # Errors
    /// As [`FoundKey::find_for_client`].
    pub fn with_key_of(
        args: &KeyArgs,
        exchange: &'a ExchangeAddress,
        cluster: Option<&'a Cluster>,
        api_version: ApiVersion,
        folder: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let held = RefCell::new(None);
        let shared_run = |command: &KeyCommand| SharedRun::of(command, folder, exchange, cluster);
        let key =
            FoundKey::find_for_client(args, &exchange.base, folder, |command| match shared_run(command) {
                Some(shared_run) => shared_run.first(command, timeout, &held),
                None => command.first_read().map(FirstRun::Key),
            })?;
        let command = command_of(&key);
        Ok(Self {
            exchange,
            cluster,
            api_version,
            shared_run: command.and_then(shared_run),
            slots_key: Cell::new(key.digest()),
            own_run: Cell::new(command.filter(|_| key.is_read()).map(|_| Instant::now())),
            held,
            key,
        })
    }

    /// The slot of its token.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot::of(self.exchange, self.slots_key.get(), self.cluster)
    }

    /// What its key may take.
    #[must_use]
    pub fn key_time(&self) -> Duration {
        command_of(&self.key).map_or(Duration::ZERO, KeyCommand::limit)
    }

    /// A token straight from the exchange.
    ///
    /// # Errors
    /// What is wrong with the key, and the exchange's failure.
    pub fn ask_without_cache(&self, timeout: Duration) -> Result<(BearerToken, TokenLife), Failure> {
        self.key.read()?;
        let given = self.ask(Asking { limit: timeout, held: None })?;
        obtain::long_enough(given, self.exchange.base.as_str())
    }

    /// Turns to the slot of the key that the source has by now, if it is another one: its token goes there.
    pub fn turn_to_latest_key(&self) -> bool {
        let latest = self.key.latest_digest();
        if latest == self.slots_key.get() {
            return false;
        }
        self.slots_key.set(latest);
        if self.shared_run.is_none() {
            // That was the other slot's.
            self.held.take();
        }
        true
    }

    /// Gives back the right to ask, if this start has it.
    pub fn release(&self) {
        if let Some(flight) = self.held.take()
            && let Some(shared_run) = &self.shared_run
        {
            shared_run.release(flight, &self.key);
        }
    }
}

impl Start for ThisStart<'_> {
    fn read_key(&self, time: KeyTime) -> Result<(), Failure> {
        let was_read = self.key.is_read();
        match (&self.shared_run, time) {
            (Some(shared_run), time) => shared_run.read(&self.key, time)?,
            (None, KeyTime::Whole) => self.key.read()?,
            (None, KeyTime::Early(limit)) => self.key.read_within(limit)?,
        };
        if command_of(&self.key).is_some() && !was_read {
            self.own_run.set(Some(Instant::now()));
        }
        if self.key.digest() == self.slots_key.get() { Ok(()) } else { Err(key_source::is_another()) }
    }

    fn own_run(&self) -> Option<Instant> {
        self.own_run.get()
    }

    /// Another start's run may have failed, or given another key.
    fn key_news(&self) -> Option<Failure> {
        let shared_run = self.shared_run.as_ref().filter(|_| !self.key.is_read())?;
        let changed = self.key.latest_digest() != self.slots_key.get();
        if changed { Some(key_source::is_another()) } else { shared_run.told_again() }
    }

    fn ask(&self, asking: Asking<'_>) -> Result<(BearerToken, TokenLife), Failure> {
        let key = self.key.read()?;
        client::swap(self.exchange, key, self.api_version, asking.limit, asking.held).map_err(|failure| {
            if failure.kind() != FailureKind::Refused {
                return failure;
            }
            // By this name its owner finds the key.
            failure.or_else_do(&format!(
                "or ask who declared it: kubectl get apikeys -A shows PREFIX {}",
                key.prefix()
            ))
        })
    }

    fn proxy(&self) -> Result<Option<Proxy>, Failure> {
        proxy::choose(self.exchange, environment::text)
    }

    fn flight(&self, cache: &TokenCache) -> SingleFlight {
        self.shared_run.as_ref().map_or_else(|| cache.flight(), SharedRun::locks)
    }

    fn held(&self) -> &RefCell<Option<Flight>> {
        &self.held
    }
}

fn command_of(key: &FoundKey) -> Option<&KeyCommand> {
    match key.source() {
        Source::Command(command) => Some(command),
        _ => None,
    }
}
