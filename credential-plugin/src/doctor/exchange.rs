//! The way to the exchange, step by step: its name, the connection, TLS, and whether a Keyplane exchange answers.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use chrono::{TimeDelta, Utc};
use ureq::Proxy;
use ureq::http::Uri;

use crate::doctor::clock;
use crate::doctor::finding::Finding;
use crate::doctor::probe::{self, NoReply};
use crate::doctor::time_limit::TimeLimit;
use crate::environment;
use crate::exchange::address::{ExchangeAddress, Trust, WHOAMI_PATH};
use crate::exchange::answer::Verdict;
use crate::exchange::connector::{Step as Failed, StepFailed};
use crate::exchange::no_answer::no_answer;
use crate::exchange::proxy;
use crate::failure::Failure;
use crate::sign_of_life::SignOfLife;

/// The check of which exchange it is, and whether the key may go there.
pub const EXCHANGE: &str = "exchange";

/// Why what comes after the way to the exchange is not checked.
pub(super) const NOT_REACHED: &str = "the exchange was not reached";

/// A step on the way, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The addresses of its name.
    Name,
    /// The connection, or the proxy that makes it.
    Connection,
    /// The handshake.
    Tls,
    /// The answer.
    Answer,
}

impl Step {
    /// Every step, in their order.
    pub const ALL: [Self; 4] = [Self::Name, Self::Connection, Self::Tls, Self::Answer];

    /// The name of the check.
    #[must_use]
    pub const fn check(self) -> &'static str {
        match self {
            Self::Name => "exchange-name",
            Self::Connection => "exchange-connection",
            Self::Tls => "exchange-tls",
            Self::Answer => "exchange-answer",
        }
    }
}

/// Which exchange.
#[must_use]
pub fn judge_choice(exchange: &ExchangeAddress) -> Finding {
    let base = exchange.base.as_str();
    if !exchange.base.is_https() {
        return Finding::ok(EXCHANGE, format!("{base}, this machine itself, without TLS"));
    }
    Finding::ok(EXCHANGE, format!("{base}, trusted by {}", trust(exchange)))
}

const fn trust(exchange: &ExchangeAddress) -> &'static str {
    match exchange.trust {
        Trust::Platform => "the CAs of the operating system",
        Trust::Pem(_) => "its own CA",
    }
}

/// What came of the way to the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaySeen {
    /// The exchange.
    pub exchange: ExchangeAddress,
    /// The addresses of its name, as far as they were found.
    pub addresses: Vec<IpAddr>,
    /// Host and port of the proxy that leads to it.
    pub proxy: Option<String>,
    /// The answer, or the step that failed, and how.
    pub outcome: Result<AnswerSeen, (Step, Failure)>,
}

/// An answer to a request without a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerSeen {
    /// The status code.
    pub status: u16,
    /// Whether it is an error as the exchange writes them (RFC 9457).
    pub is_problem: bool,
    /// By how much this machine's clock is ahead.
    pub ahead: Option<TimeDelta>,
}

impl WaySeen {
    pub(super) fn observe(exchange: &ExchangeAddress, limit: TimeLimit) -> Self {
        let seen = |addresses, proxy, outcome| Self { exchange: exchange.clone(), addresses, proxy, outcome };
        let proxy = match proxy::choose(exchange, environment::text) {
            Ok(proxy) => proxy,
            Err(failure) => return seen(Vec::new(), None, Err((Step::Connection, failure))),
        };
        let addresses = if proxy.is_some() { Vec::new() } else { addresses(exchange, limit) };
        let shown = proxy.as_ref().map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
        let outcome = Self::ask(exchange, proxy.as_ref(), shown.as_deref(), limit);
        seen(addresses, shown, outcome)
    }

    fn ask(
        exchange: &ExchangeAddress,
        proxy: Option<&Proxy>,
        shown: Option<&str>,
        limit: TimeLimit,
    ) -> Result<AnswerSeen, (Step, Failure)> {
        // Asked without a key: a Keyplane exchange refuses it in its own words.
        match probe::get(exchange, proxy, WHOAMI_PATH, limit.step()) {
            Ok(reply) => Ok(AnswerSeen {
                status: reply.status,
                is_problem: reply.content_type.starts_with("application/problem+json"),
                ahead: reply.date.map(|date| clock::ahead(reply.asked_at, reply.answered_at, date)),
            }),
            // Its CA is what a request cannot be made without.
            Err(NoReply::Failure(failure)) => Err((Step::Tls, failure)),
            Err(NoReply::Error(error)) => {
                let step = match StepFailed::of(&error).map(|failed| failed.step) {
                    Some(Failed::Name) => Step::Name,
                    Some(Failed::Proxy | Failed::Connection) => Step::Connection,
                    Some(Failed::Handshake) => Step::Tls,
                    None => Step::Answer,
                };
                match no_answer::<Infallible>(&error, exchange.base.as_str(), shown, Utc::now()) {
                    Verdict::Final(failure) | Verdict::Later(_, failure) => Err((step, failure)),
                    Verdict::Given(never) => match never {},
                }
            }
        }
    }

    /// Whether a Keyplane exchange was reached.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|answer| answer.is_problem)
    }

    /// A line for each step, and one for the clock.
    #[must_use]
    pub fn judge(&self) -> Vec<Finding> {
        let failed = self.outcome.as_ref().err();
        let mut findings: Vec<Finding> = Step::ALL
            .into_iter()
            .map(|step| match failed {
                Some((at, failure)) if *at == step => Finding::of_failure(step.check(), failure),
                Some((at, _)) if *at < step => Finding::not_checked(step.check(), NOT_REACHED),
                _ => self.passed(step),
            })
            .collect();
        findings.push(match &self.outcome {
            Ok(answer) => clock::judge(answer.ahead),
            Err(_) => Finding::not_checked(clock::CHECK, NOT_REACHED),
        });
        findings
    }

    fn passed(&self, step: Step) -> Finding {
        let check = step.check();
        let host = host(&self.exchange);
        match (step, &self.proxy) {
            (Step::Name, Some(proxy)) => {
                Finding::hint(check, format!("the proxy {proxy} finds the address of {host}"), None)
            }
            (Step::Name, None) => {
                let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
                Finding::ok(check, format!("{host} is {}", addresses.join(", ")))
            }
            (Step::Connection, Some(proxy)) => Finding::ok(check, format!("made through the proxy {proxy}")),
            (Step::Connection, None) => Finding::ok(check, "made without a proxy"),
            (Step::Tls, _) if !self.exchange.base.is_https() => {
                Finding::hint(check, "plain http to this machine itself: there is no TLS", None)
            }
            (Step::Tls, _) => {
                let name = self.exchange.tls_server_name.as_deref().unwrap_or(&host);
                Finding::ok(
                    check,
                    format!("the certificate is for {name}, trusted by {}", trust(&self.exchange)),
                )
            }
            (Step::Answer, _) => self.answer(),
        }
    }

    fn answer(&self) -> Finding {
        let check = Step::Answer.check();
        match &self.outcome {
            Ok(AnswerSeen { is_problem: true, .. }) => Finding::ok(check, "a Keyplane exchange answers"),
            Ok(AnswerSeen { status, .. }) => Finding::problem(
                check,
                format!(
                    "{} answers {status}, and not as a Keyplane exchange does",
                    self.exchange.base.as_str()
                ),
                "check the exchange's address, and that no proxy or portal answers in its place",
            ),
            Err((_, failure)) => Finding::of_failure(check, failure),
        }
    }
}

fn host(exchange: &ExchangeAddress) -> String {
    let uri = exchange.base.as_str().parse::<Uri>().unwrap_or_default();
    let host = uri.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn addresses(exchange: &ExchangeAddress, limit: TimeLimit) -> Vec<IpAddr> {
    let host = host(exchange);
    let _waiting = SignOfLife::while_waiting_for(exchange.base.as_str());
    let found = limit.within(move || (host.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    let mut addresses: Vec<IpAddr> =
        found.and_then(Result::ok).unwrap_or_default().iter().map(SocketAddr::ip).collect();
    addresses.dedup();
    addresses
}
