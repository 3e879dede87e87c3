//! How much time the exchange gets from a start that has waited for others: less, unless it ran the key command itself.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use keyplane_core::key_format::KeyDigest;
use keyplane_credential_plugin::exchange::address::{BaseUrl, ExchangeAddress, Trust};
use keyplane_credential_plugin::failure::Failure;
use keyplane_credential_plugin::token::BearerToken;
use keyplane_credential_plugin::token::cache::{Slot, TokenCache};
use keyplane_credential_plugin::token::life::TokenLife;
use keyplane_credential_plugin::token::obtain::{Asking, KeyTime, Start, TokenSource};
use keyplane_credential_plugin::token::single_flight::{Flight, SingleFlight};
use tempfile::TempDir;
use ureq::Proxy;

use crate::stand_in::now;

const TIMEOUT: Duration = Duration::from_secs(30);
const KEY_TIME: Duration = Duration::from_secs(10);
/// More than may pass in waiting.
const LONG: Duration = Duration::from_mins(1);

/// A start that has the right to ask, and notes how long the exchange may take.
struct Asker {
    own_run: Cell<Option<Instant>>,
    runs_now: bool,
    held: RefCell<Option<Flight>>,
    limit: Cell<Option<Duration>>,
}

impl Start for Asker {
    fn read_key(&self, time: KeyTime) -> Result<(), Failure> {
        assert_eq!(time, KeyTime::Whole);
        if self.runs_now {
            self.own_run.set(Some(Instant::now()));
        }
        Ok(())
    }

    fn own_run(&self) -> Option<Instant> {
        self.own_run.get()
    }

    fn key_news(&self) -> Option<Failure> {
        None
    }

    fn ask(&self, asking: Asking<'_>) -> Result<(BearerToken, TokenLife), Failure> {
        self.limit.set(Some(asking.limit));
        let life = TokenLife::of_answer(now(), None, now() + TimeDelta::minutes(10));
        Ok((BearerToken::new("a.token".to_owned()).unwrap(), life))
    }

    fn proxy(&self) -> Result<Option<Proxy>, Failure> {
        Ok(None)
    }

    fn flight(&self, cache: &TokenCache) -> SingleFlight {
        cache.flight()
    }

    fn held(&self) -> &RefCell<Option<Flight>> {
        &self.held
    }
}

/// What the exchange may take in a start that began so long ago, ran the command so long ago, or runs it `now`.
fn given(began: Duration, ran: Option<Duration>, runs_now: bool) -> Duration {
    let folder = TempDir::new().unwrap();
    let exchange = ExchangeAddress::new(BaseUrl::parse("https://exchange.example").unwrap(), Trust::Platform);
    // A machine may have begun to count not long ago.
    let ago = |passed| Instant::now().checked_sub(passed).expect("the machine runs for a minute");
    let start = Asker {
        own_run: Cell::new(ran.map(ago)),
        runs_now,
        held: RefCell::new(Some(Flight::without_lock())),
        limit: Cell::new(None),
    };
    let source = TokenSource {
        cache: TokenCache::new(folder.path().join("cache"), Slot::of(&exchange, KeyDigest::of(b"key"), None)),
        client: None,
        started: ago(began),
        timeout: TIMEOUT,
        key_time: KEY_TIME,
        base: "https://exchange.example",
        start: &start,
    };
    source.obtain().unwrap();
    start.limit.get().unwrap()
}

#[test]
fn who_ran_the_key_command_itself_has_the_whole_timeout_from_the_end_of_that_run() {
    let nearly = |given: Duration, expected: u64| {
        let expected = Duration::from_secs(expected);
        assert!(given <= expected && given + Duration::from_secs(10) > expected, "{given:?} of {expected:?}");
    };
    for began in [Duration::ZERO, LONG] {
        nearly(given(began, None, true), 30);
        nearly(given(began, Some(Duration::ZERO), false), 30);
    }
    nearly(given(LONG, Some(Duration::from_secs(10)), false), 20);
    assert_eq!(given(LONG, Some(TIMEOUT), false), Duration::ZERO);
}

#[test]
fn who_did_not_run_it_has_what_waiting_left() {
    assert_eq!(given(LONG, None, false), Duration::ZERO);
    assert_eq!(given(Duration::ZERO, None, false), TIMEOUT);
    // 15 s before all of it has passed.
    let left = given(Duration::from_secs(35), None, false);
    assert!(left <= Duration::from_secs(15) && left > Duration::from_secs(5), "{left:?}");
}
