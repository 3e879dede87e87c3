//! Where the token comes from: the cache, the exchange, or another start that is asking it.
//!
//! - A cached token that may be handed out is handed out, without a lock. In the last quarter of its time the one start
//!   that gets the lock asks for the next first, for a short time; whatever goes wrong, the cached one still counts.
//! - A client that seems to be refused gets what the exchange says to its token now. If the exchange is away just then,
//!   the client gets that failure: the token is probably dead, the API server would say 401 to it again without a word
//!   about the cause, and a dead token is never handed out knowingly. Only this process is told so, and for at most
//!   10 s; others are handed the cached token as before.
//! - Without a token one start of many asks, and its failure counts for the others too; what went wrong on the way to
//!   the exchange, only for those that go the same [way](crate::token::way).
//! - What the exchange says against the key itself (401, 403) is told at once, and the cached token is forgotten: the
//!   API server refuses it within seconds, or gives it no rights.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use chrono::Utc;
use ureq::Proxy;

use crate::failure::{Failure, FailureKind};
use crate::token::BearerToken;
use crate::token::cache::{Cached, TokenCache};
use crate::token::failure_memory::RememberedFailure;
use crate::token::hand_out::{self, Client, HandOutRecord};
use crate::token::life::{LEAST_LIFE, TokenLife};
use crate::token::single_flight::{Flight, SingleFlight, Turn};
use crate::token::way::Way;
use crate::verbose;

/// The longest that an early refresh may take: somebody waits for a command that could have begun.
pub const EARLY_REFRESH_LIMIT: Duration = Duration::from_secs(3);

/// How much time there is to read the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTime {
    /// As long as its source may take.
    Whole,
    /// This long, and no longer than its source may: a cached token still counts, and somebody waits.
    Early(Duration),
}

/// How the exchange is asked, once the key is read.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// For at most this long.
    pub limit: Duration,
    /// The token that is held, to be shown.
    pub held: Option<&'a BearerToken>,
}

/// The start that needs a token: its key, its way to the exchange, and its place among other starts.
pub trait Start {
    /// Reads the key, if that was not done yet.
    ///
    /// # Errors
    /// What is wrong with the key; also that it is another one than the slot's.
    fn read_key(&self, time: KeyTime) -> Result<(), Failure>;

    /// When this very start had run the key command to its end, if it did.
    fn own_run(&self) -> Option<Instant>;

    /// What another start has learned about the key meanwhile: it has changed, or cannot be read.
    fn key_news(&self) -> Option<Failure>;

    /// Asks the exchange.
    ///
    /// # Errors
    /// Its failure.
    fn ask(&self, asking: Asking<'_>) -> Result<(BearerToken, TokenLife), Failure>;

    /// The proxy on the way to the exchange; looked at only where a failure is remembered or told again.
    ///
    /// # Errors
    /// When what names it cannot be read.
    fn proxy(&self) -> Result<Option<Proxy>, Failure>;

    /// Who of many asks, for the slot of this cache.
    fn flight(&self, cache: &TokenCache) -> SingleFlight;

    /// The right to ask, once this start has it.
    fn held(&self) -> &RefCell<Option<Flight>>;
}

/// Where the token of one slot comes from.
pub struct TokenSource<'a> {
    /// The slot.
    pub cache: TokenCache,
    /// The process that asks, when it is a client.
    pub client: Option<Client>,
    /// When the start began.
    pub started: Instant,
    /// What may pass until there is a token, once there is a key: from the end of an own run of the key command, else
    /// with what passes in waiting for others.
    pub timeout: Duration,
    /// What may pass until there is a key.
    pub key_time: Duration,
    /// The exchange's address, for people.
    pub base: &'a str,
    /// Who needs it.
    pub start: &'a dyn Start,
}

/// A token to hand out.
#[derive(Debug)]
pub struct Obtained {
    /// The token.
    pub token: BearerToken,
    /// Its life.
    pub life: TokenLife,
    /// Whether this very start got it from the exchange.
    pub is_new: bool,
    record: Option<HandOutRecord>,
}

impl TokenSource<'_> {
    /// A token that may be handed out now.
    ///
    /// # Errors
    /// The exchange's failure, met now or a moment ago by another start; what was wrong with the key when it was read;
    /// [`FailureKind::Unreachable`] when another start has no answer in time.
    pub fn obtain(&self) -> Result<Obtained, Failure> {
        let cached = match self.cache.look(Utc::now()) {
            Ok(cached) => cached,
            Err(miss) => {
                verbose::note(miss);
                return self.ask_or_take(None);
            }
        };
        let record = self.record();
        if !record.as_ref().is_some_and(|record| record.says_refused(cached.life)) {
            return if cached.life.is_due_for_refresh(Utc::now()) {
                self.refresh_early(cached, record, false)
            } else {
                verbose::note("handing out the cached token");
                Ok(Obtained { token: cached.token, life: cached.life, is_new: false, record })
            };
        }
        if !hand_out::may_check(cached.checks, cached.life.obtained_at(), Utc::now()) {
            verbose::note("the client asks again, but the exchange was asked about its token a moment ago");
            return Ok(Obtained { token: cached.token, life: cached.life, is_new: false, record });
        }
        if self.client == Some(Client::Unknown) {
            verbose::note(
                "a client asks again, perhaps because its token was refused; asking the exchange about it",
            );
            return self.refresh_early(cached, record, true);
        }
        verbose::note("the client asks again, as if its token was refused; asking the exchange about it");
        self.ask_or_take(Some(&cached))
    }

    /// Remembers that the token was handed out.
    pub fn remember(&self, obtained: Obtained) {
        if let Some(record) = obtained.record.or_else(|| self.record()) {
            record.remember(obtained.life, Utc::now());
        }
    }

    fn record(&self) -> Option<HandOutRecord> {
        Some(HandOutRecord::read(self.cache.hand_outs(), self.client?, Utc::now()))
    }

    /// The next token, if this start is the one to ask for it and the exchange is quick; else the cached one. Where that
    /// is `suspect`, the exchange is shown it and may give it back.
    fn refresh_early(
        &self,
        cached: Cached,
        record: Option<HandOutRecord>,
        suspect: bool,
    ) -> Result<Obtained, Failure> {
        let Some(flight) =
            self.cache.is_writable().then(|| self.start.flight(&self.cache).try_lead()).flatten()
        else {
            verbose::note(
                "handing out the cached token; the next one is asked for by another start, or later",
            );
            return Ok(Obtained { token: cached.token, life: cached.life, is_new: false, record });
        };
        // Another start may have been here since this one looked.
        let newer = self.cache.look(Utc::now()).ok().filter(|newer| newer.life != cached.life);
        if let Some(newer) = newer {
            verbose::note("handing out the token that another start has just got");
            return Ok(Obtained { token: newer.token, life: newer.life, is_new: false, record });
        }
        let limit = EARLY_REFRESH_LIMIT.min(self.timeout);
        let rests = |failure: RememberedFailure| {
            self.way(limit).is_some_and(|way| failure.counts_for(&way, Utc::now()))
        };
        if self.cache.failures().read().is_some_and(rests) {
            verbose::note("handing out the cached token; the exchange failed a moment ago");
            return Ok(Obtained { token: cached.token, life: cached.life, is_new: false, record });
        }
        if !suspect {
            verbose::note("the cached token ends soon; asking the exchange for the next one");
        }
        let checks = if suspect {
            hand_out::checks_after(cached.checks, cached.life.obtained_at(), Utc::now())
        } else {
            0
        };
        let held = suspect.then_some(&cached.token);
        let began = Instant::now();
        let asked = self.start.read_key(KeyTime::Early(limit)).and_then(|()| {
            let limit = limit.saturating_sub(began.elapsed());
            self.start.ask(Asking { limit, held })
        });
        match self.settle(asked, checks, true, limit) {
            Ok((token, life)) => Ok(Obtained { token, life, is_new: true, record }),
            Err(failure) if is_about_the_key(failure.kind()) => Err(failure),
            Err(failure) => {
                verbose::note(format_args!("no next token yet: {failure}"));
                drop(flight);
                if cached.life.may_be_handed_out(Utc::now()) {
                    Ok(Obtained { token: cached.token, life: cached.life, is_new: false, record })
                } else {
                    self.ask_or_take(None)
                }
            }
        }
    }

    /// What the exchange gives, to this start or to the one that asks it already. A `suspect` is shown to it.
    fn ask_or_take(&self, suspect: Option<&Cached>) -> Result<Obtained, Failure> {
        let landed = || {
            let cached = self.cache.look(Utc::now()).ok();
            let other = cached.filter(|cached| suspect.is_none_or(|suspect| suspect.life != cached.life));
            if let Some(cached) = other {
                return Some(Ok((cached.token, cached.life)));
            }
            let remembered = self.cache.failures().read();
            let told = |failure: RememberedFailure| failure.told_again(&self.way(self.left())?, Utc::now());
            remembered.and_then(told).or_else(|| self.start.key_news()).map(Err)
        };
        let turn = if !self.cache.is_writable() {
            verbose::note("the cache folder cannot be used; asking the exchange without it");
            Turn::Lead(Flight::without_lock())
        } else if let Some(answer) = landed() {
            Turn::Landed(answer)
        } else if let Some(flight) = self.start.held().take() {
            // It has been this start's turn since the key was read.
            Turn::Lead(flight)
        } else {
            // Two holders may be stuck, and a third of the time to ask is left.
            let patience = self.left_to_wait().saturating_sub(self.left() / 3) / 2;
            self.start.flight(&self.cache).lead_or_wait(self.left_to_wait(), patience, landed)
        };
        let is_new = matches!(turn, Turn::Lead(_));
        let (token, life) = match turn {
            Turn::Landed(answer) => {
                verbose::note("another start has asked the exchange; taking its answer");
                answer?
            }
            Turn::TimedOut => return Err(self.no_answer_for_others()),
            Turn::Lead(flight) => {
                verbose::note("asking the exchange");
                let checks = suspect.map_or(0, |suspect| {
                    hand_out::checks_after(suspect.checks, suspect.life.obtained_at(), Utc::now())
                });
                let held = suspect.map(|suspect| &suspect.token);
                let key = self.start.read_key(KeyTime::Whole);
                // A run of the key command gives more of it.
                let limit = self.left();
                let asked = key.and_then(|()| self.start.ask(Asking { limit, held }));
                let settled = self.settle(asked, checks, false, limit);
                if landed().is_none() {
                    flight.left_nothing();
                }
                self.start.held().replace(Some(flight));
                settled?
            }
        };
        Ok(Obtained { token, life, is_new, record: None })
    }

    /// Leaves what the exchange answered within the `limit` where other starts find it.
    fn settle(
        &self,
        asked: Result<(BearerToken, TokenLife), Failure>,
        checks: u32,
        early: bool,
        limit: Duration,
    ) -> Result<(BearerToken, TokenLife), Failure> {
        match asked.and_then(|given| long_enough(given, self.base)) {
            Ok((token, life)) => {
                self.cache.write_checked(&token, life, checks);
                self.cache.failures().clear();
                Ok((token, life))
            }
            Err(failure) => {
                let about_the_key = is_about_the_key(failure.kind());
                if about_the_key {
                    self.cache.remove();
                }
                if let Some(way) = self.way(limit)
                    && self.cache.is_writable()
                {
                    self.cache.failures().remember(&failure, early && !about_the_key, way, Utc::now());
                }
                Err(failure)
            }
        }
    }

    /// The way of this start; none when it has none, which the exchange's failure says.
    fn way(&self, limit: Duration) -> Option<Way> {
        Some(Way::new(self.start.proxy().ok()?.as_ref(), limit))
    }

    /// What the exchange may take: what others took for their key is not this one's loss. Who has run the key command
    /// itself, for which a person may have answered a question, has the whole timeout from that run's end.
    ///
    /// So all ends in time: waiting after twice the key's time and the timeout, an own run after the key's time more, and
    /// the exchange after the timeout more.
    fn left(&self) -> Duration {
        let since_own_run =
            self.start.own_run().map_or(Duration::ZERO, |ended| self.timeout.saturating_sub(ended.elapsed()));
        self.timeout.min(self.left_to_wait()).max(since_own_run)
    }

    /// What waiting for others may take, and the exchange for who has not run the key command: one of them may wait for
    /// its key, and the one that goes on when that one is stuck.
    fn left_to_wait(&self) -> Duration {
        (self.timeout + self.key_time * 2).saturating_sub(self.started.elapsed())
    }

    fn no_answer_for_others(&self) -> Failure {
        Failure::new(
            FailureKind::Unreachable,
            "another start of kubectl-keyplane asks the exchange and has no answer in time",
            self.base,
            "try again, give a longer --timeout, or ask on your own with --no-cache",
        )
    }
}

/// The exchange's token, if it lives long enough to be handed out; `base` is the exchange's address.
///
/// # Errors
/// [`FailureKind::ShortLived`]
pub fn long_enough(
    (token, life): (BearerToken, TokenLife),
    base: &str,
) -> Result<(BearerToken, TokenLife), Failure> {
    if life.may_be_handed_out(Utc::now()) {
        return Ok((token, life));
    }
    Err(Failure::new(
        FailureKind::ShortLived,
        format!("the exchange's token has less than {} s left", LEAST_LIFE.num_seconds()),
        base,
        "check when the key expires (spec.expiresAt of the ApiKey) and use one that lives longer",
    ))
}

/// Whether the exchange itself says that the key is no more, or may not do this.
const fn is_about_the_key(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Refused | FailureKind::Expired | FailureKind::Forbidden | FailureKind::Locked)
}
