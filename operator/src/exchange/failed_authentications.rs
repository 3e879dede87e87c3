//! How often an address may fail to authenticate: beyond that its requests are not looked at for a while.
//!
//! A key cannot be guessed. What this keeps down is the work that a flood of bad keys and tokens makes: tokens are asked
//! about at the API server, and refusals are written down.

use std::convert::Infallible;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use ipnet::IpNet;
use keyplane_core::ip_network;

use super::address_block::AddressBlock;
use crate::runtime::ApiArguments;

/// How many addresses are remembered at most, some 100 bytes each. Failures of further ones do not count: it is better to
/// look at too many than to let one who has many addresses speak for all others.
const MAX_ADDRESSES: usize = 65_536;
/// After how many failures those addresses are forgotten that have all their attempts again.
const FORGET_EVERY: u32 = 1024;

/// Counts failures of addresses. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct FailedAuthentications<C: Clock = DefaultClock>(Arc<Failures<C>>);

#[derive(Debug)]
struct Failures<C: Clock> {
    limiter: RateLimiter<Question, Memory, C, NoOpMiddleware<C::Instant>>,
    /// Who speaks for many, and would be silenced by any of them.
    exempt: Vec<IpNet>,
    /// How often anybody failed, to know when to forget.
    count: AtomicU32,
}

impl FailedAuthentications {
    /// As the arguments ask for: so many failures a minute, and as many at once.
    pub(crate) fn new(arguments: &ApiArguments) -> Self {
        let exempt = arguments.trusted_proxy.clone();
        Self::by_clock(arguments.failed_authentications_per_minute, exempt, DefaultClock::default())
    }
}

impl<C: Clock> FailedAuthentications<C> {
    fn by_clock(failures: NonZeroU32, exempt: Vec<IpNet>, clock: C) -> Self {
        let limiter = RateLimiter::new(Quota::per_minute(failures), Memory::default(), clock);
        Self(Arc::new(Failures { limiter, exempt, count: AtomicU32::new(0) }))
    }

    /// After how long the address is looked at again, if it has failed too often. Those whose address is not known count
    /// as one; a trusted proxy's own never does.
    pub(crate) fn is_exhausted(&self, address: Option<IpAddr>) -> Option<Duration> {
        let question = self.question(address, false)?;
        let limiter = &self.0.limiter;
        let refused = limiter.check_key(&question).err()?;
        Some(refused.wait_time_from(limiter.clock().now()))
    }

    /// The address failed once more.
    pub(crate) fn failed(&self, address: Option<IpAddr>) {
        let Some(question) = self.question(address, true) else { return };
        // One who has none left loses none: he was looked at before the others had failed.
        let _ = self.0.limiter.check_key(&question);
        let count = self.0.count.fetch_add(1, Ordering::Relaxed);
        if count.checked_rem(FORGET_EVERY) == Some(FORGET_EVERY - 1) {
            self.0.limiter.retain_recent();
        }
    }

    fn question(&self, address: Option<IpAddr>, takes: bool) -> Option<Question> {
        let is_exempt = address.is_some_and(|address| ip_network::any_holds(&self.0.exempt, address));
        (!is_exempt).then(|| Question { who: address.map(AddressBlock::from), takes })
    }
}

/// What the limiter is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Question {
    /// Whose failures are counted together; none for all whose address is not known.
    who: Option<AddressBlock>,
    /// Whether a failure is counted, or only looked whether one could be.
    takes: bool,
}

/// The failures of each address, as the limiter counts them.
#[derive(Debug, Default)]
struct Memory(DashMapStateStore<Option<AddressBlock>>);

impl StateStore for Memory {
    type Key = Question;

    fn measure_and_replace<T, F, E>(&self, question: &Question, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Question { who, takes } = question;
        if *takes {
            let is_full = self.0.len() >= MAX_ADDRESSES && !self.0.contains_key(who);
            return if is_full {
                f(None).map(|(answer, _)| answer)
            } else {
                self.0.measure_and_replace(who, f)
            };
        }
        let Some(state) = self.0.get(who) else { return f(None).map(|(answer, _)| answer) };
        // An error is never written back.
        let answer = |at: Option<Nanos>| -> Result<(Infallible, Nanos), Result<T, E>> {
            Err(f(at).map(|(answer, _)| answer))
        };
        match state.measure_and_replace(&NotKeyed::NonKey, answer) {
            Ok(never) => match never {},
            Err(answer) => answer,
        }
    }
}

impl ShrinkableKeyedStateStore<Question> for Memory {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain_recent(drop_below);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limit(failures: u32) -> (FailedAuthentications<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        // The limiter takes the first moment for none.
        clock.advance(SECOND);
        let exempt = vec!["198.51.100.0/24".parse().unwrap()];
        (FailedAuthentications::by_clock(NonZeroU32::new(failures).unwrap(), exempt, clock.clone()), clock)
    }

    fn ip(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn exactly_as_many_failures_as_are_allowed_exhaust_an_address() {
        for allowed in [1, 2, 60, 1000] {
            let (failures, _) = limit(allowed);
            for _ in 0..allowed {
                assert_eq!(failures.is_exhausted(ip("192.0.2.1")), None);
                failures.failed(ip("192.0.2.1"));
            }
            let wait = failures.is_exhausted(ip("192.0.2.1")).unwrap();
            assert!(!wait.is_zero() && wait <= Duration::from_mins(1) / allowed, "{wait:?}");
        }
    }

    #[test]
    fn looking_takes_nothing_and_remembers_nobody() {
        let (failures, _) = limit(1);
        for _ in 0..100 {
            assert_eq!(failures.is_exhausted(ip("192.0.2.1")), None);
        }
        assert!(failures.0.limiter.is_empty());
        failures.failed(ip("192.0.2.1"));
        let wait = failures.is_exhausted(ip("192.0.2.1"));
        for _ in 0..100 {
            assert_eq!(failures.is_exhausted(ip("192.0.2.1")), wait);
        }
    }

    #[test]
    fn an_exhausted_address_is_looked_at_again_when_it_was_told_and_not_before() {
        for (allowed, more) in [(1, 0), (60, 0), (60, 500), (7, 3)] {
            let (failures, clock) = limit(allowed);
            // Failures beyond the limit prolong nothing.
            for _ in 0..allowed + more {
                failures.failed(ip("192.0.2.1"));
            }
            let wait = failures.is_exhausted(ip("192.0.2.1")).unwrap();
            clock.advance(wait.saturating_sub(Duration::from_nanos(1)));
            assert!(failures.is_exhausted(ip("192.0.2.1")).is_some());
            clock.advance(Duration::from_nanos(1));
            assert_eq!(failures.is_exhausted(ip("192.0.2.1")), None);
            failures.failed(ip("192.0.2.1"));
            assert!(failures.is_exhausted(ip("192.0.2.1")).is_some());
        }
    }

    #[test]
    fn after_a_quiet_minute_an_address_has_all_its_attempts_again() {
        let (failures, clock) = limit(5);
        for _ in 0..5 {
            failures.failed(ip("192.0.2.1"));
        }
        clock.advance(Duration::from_mins(1));
        for _ in 0..5 {
            assert_eq!(failures.is_exhausted(ip("192.0.2.1")), None);
            failures.failed(ip("192.0.2.1"));
        }
        assert!(failures.is_exhausted(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn addresses_fail_for_themselves_and_for_their_network_and_the_unknown_together() {
        let (failures, _) = limit(1);
        failures.failed(ip("2001:db8::1"));
        failures.failed(None);
        for (address, expected) in [
            (ip("2001:db8::2"), true),
            (ip("2001:db8:0:1::1"), false),
            (ip("192.0.2.1"), false),
            (None, true),
        ] {
            assert_eq!(failures.is_exhausted(address).is_some(), expected, "{address:?}");
        }
    }

    #[test]
    fn a_trusted_proxy_that_speaks_for_many_is_never_exhausted() {
        let (failures, _) = limit(1);
        for _ in 0..10 {
            failures.failed(ip("198.51.100.7"));
        }
        assert_eq!(failures.is_exhausted(ip("::ffff:198.51.100.7")), None);
        assert!(failures.0.limiter.is_empty());
    }

    #[test]
    fn whoever_has_not_failed_for_a_while_is_forgotten() {
        let (failures, clock) = limit(60);
        let mut remembered = 0;
        for number in 0..10 * FORGET_EVERY {
            failures.failed(Some(IpAddr::from(number.to_be_bytes())));
            // One failure is made good in a second.
            clock.advance(Duration::from_millis(10));
            remembered = remembered.max(failures.0.limiter.len());
        }
        assert!(remembered <= 2 * usize::try_from(FORGET_EVERY).unwrap(), "{remembered}");
    }

    #[test]
    fn however_many_addresses_fail_only_so_many_are_remembered_and_the_others_are_looked_at() {
        let (failures, _) = limit(1);
        let max = u32::try_from(MAX_ADDRESSES).unwrap();
        for number in 0..max + 100 {
            failures.failed(Some(IpAddr::from(number.to_be_bytes())));
        }
        assert_eq!(failures.0.limiter.len(), MAX_ADDRESSES);
        assert!(failures.is_exhausted(Some(IpAddr::from(0_u32.to_be_bytes()))).is_some());
        let beyond = Some(IpAddr::from((max + 1).to_be_bytes()));
        assert_eq!(failures.is_exhausted(beyond), None);
    }
}
