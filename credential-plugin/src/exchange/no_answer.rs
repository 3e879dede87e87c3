//! What it means that no answer came: which step on the way failed, and what a person can do about it. Pure.

use chrono::{DateTime, SecondsFormat, Utc};
use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use ureq::{Error, Timeout};

use crate::exchange::answer::Verdict;
use crate::exchange::connector::{Step, StepFailed};
use crate::exchange::retry_rule::Setback;
use crate::failure::{Failure, FailureKind};

/// Judges an attempt at the exchange at `base`, through the `proxy` (host and port), that began at `now` (local time)
/// and got no answer.
pub fn no_answer<T>(error: &Error, base: &str, proxy: Option<&str>, now: DateTime<Utc>) -> Verdict<T> {
    let Some(failed) = StepFailed::of(error) else {
        return no_whole_answer(error, base);
    };
    if failed.step != Step::Proxy {
        return at_step(failed, "the exchange", base, CHECK_EXCHANGE, now);
    }
    let proxy = format!("the proxy {}", proxy.unwrap_or_default());
    match StepFailed::of(&failed.error) {
        Some(inner) => at_step(inner, &proxy, base, CHECK_PROXY, now),
        None => refused_by_proxy(&failed.error, &proxy, base),
    }
}

const CHECK_EXCHANGE: Checks = Checks {
    network: "check the address, the network, and HTTPS_PROXY and NO_PROXY if they are set",
    name: "check the address; --tls-server-name NAME takes a certificate of another name, if it is the exchange's",
    trust: "give the exchange's CA with --certificate-authority FILE",
    owner: "whoever runs the exchange renews it",
};
/// A server that speaks TLS answers plain http with an alert, or breaks off.
const CHECK_SCHEME: &str = "check that the address is a Keyplane exchange; give https where it speaks TLS";
const CHECK_PROXY: Checks = Checks {
    network: "check --proxy-url, HTTPS_PROXY or the cluster's proxy-url; NO_PROXY and --proxy-url none go without",
    name: "give the proxy by the name in its certificate",
    trust: "add the proxy's CA to those that the operating system trusts",
    owner: "whoever runs the proxy renews it",
};

/// What to do about a failed step, by whom it failed.
#[derive(Clone, Copy)]
struct Checks {
    network: &'static str,
    name: &'static str,
    trust: &'static str,
    owner: &'static str,
}

fn at_step<T>(
    failed: &StepFailed,
    whose: &str,
    base: &str,
    checks: Checks,
    now: DateTime<Utc>,
) -> Verdict<T> {
    let cause = if failed.step == Step::Handshake { tls_cause(&failed.error) } else { None };
    if let Some(cause) = cause {
        let (what, remedy) = of_tls(cause, whose, checks, now);
        return Verdict::Final(Failure::new(FailureKind::Tls, what, base, remedy));
    }
    let what = match (failed.step, &failed.error) {
        (Step::Name, Error::Timeout(_)) => format!("{whose}'s name was not found in time"),
        (Step::Name, _) => format!("{whose}'s name is not known"),
        (Step::Connection, Error::Timeout(_)) => format!("{whose} did not accept a connection in time"),
        (Step::Handshake, Error::Timeout(_)) => format!("{whose} did not finish the TLS handshake in time"),
        (Step::Handshake, error) => format!("{whose} broke the TLS handshake off: {}", cause_of(error)),
        (_, error) => format!("{whose} cannot be reached: {}", cause_of(error)),
    };
    later(what, base, checks.network)
}

/// The proxy is there and does not lead to the exchange.
fn refused_by_proxy<T>(error: &Error, proxy: &str, base: &str) -> Verdict<T> {
    let refused = |what, remedy| {
        Verdict::Final(Failure::new(FailureKind::Unreachable, format!("{proxy} {what}"), base, remedy))
    };
    let status = match error {
        // All that ureq tells of the answer: "proxy server responded 407/407".
        Error::ConnectProxyFailed(words) => words.rsplit('/').next().and_then(|status| status.parse().ok()),
        _ => None,
    };
    match (status, error) {
        (Some(407_u16), _) => refused(
            "wants a user name and a password (407)".to_owned(),
            "put them into the proxy's URL: http://USER:PASSWORD@HOST:PORT",
        ),
        // Its own refusal stays; that it found no way may pass.
        (Some(status @ 400..=499), _) => refused(
            format!("refuses to lead to the exchange ({status})"),
            "ask who runs the proxy to allow it, or name the exchange in NO_PROXY",
        ),
        (Some(status), _) => {
            later(format!("{proxy} does not lead to the exchange ({status})"), base, CHECK_PROXY.network)
        }
        (None, Error::Timeout(_)) => {
            later(format!("{proxy} did not answer in time"), base, CHECK_PROXY.network)
        }
        (None, error) => later(
            format!("{proxy} does not lead to the exchange: {}", cause_of(error)),
            base,
            CHECK_PROXY.network,
        ),
    }
}

/// The exchange was reached, and what it sent is no answer or no whole one.
fn no_whole_answer<T>(error: &Error, base: &str) -> Verdict<T> {
    if let Some(cause) = tls_cause(error) {
        return Verdict::Final(Failure::new(
            FailureKind::Tls,
            format!("the secure connection to the exchange broke: {cause}"),
            base,
            "check the address, and that no proxy changes what is sent",
        ));
    }
    let is_plain = base.starts_with("http:");
    match error {
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            later("the exchange was not reached in time".to_owned(), base, CHECK_EXCHANGE.network)
        }
        Error::Timeout(_) => {
            later("the exchange did not answer in time".to_owned(), base, CHECK_EXCHANGE.network)
        }
        Error::Io(error) => {
            let remedy = if is_plain { CHECK_SCHEME } else { CHECK_EXCHANGE.network };
            later(format!("the connection to the exchange broke: {error}"), base, remedy)
        }
        // What is left speaks no proper HTTP.
        _ => Verdict::Final(Failure::new(
            FailureKind::Server,
            format!("the exchange's answer cannot be read: {error}"),
            base,
            if is_plain { CHECK_SCHEME } else { "check that --server is a Keyplane exchange" },
        )),
    }
}

fn later<T>(what: String, base: &str, remedy: &str) -> Verdict<T> {
    Verdict::Later(Setback::Unreachable, Failure::new(FailureKind::Unreachable, what, base, remedy))
}

fn cause_of(error: &Error) -> String {
    match error {
        // Without ureq's own "io: " before it.
        Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// The fault that TLS itself found, and not the network under it.
fn tls_cause(error: &Error) -> Option<&rustls::Error> {
    match error {
        Error::Rustls(cause) => Some(cause),
        Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// What is wrong with somebody's certificate or TLS, and what to do, for a person.
fn of_tls(cause: &rustls::Error, whose: &str, checks: Checks, now: DateTime<Utc>) -> (String, String) {
    let clock = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let by_clock = format!("{}, unless this machine's clock, which says {clock}, is wrong", checks.owner);
    match cause {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::ExpiredContext { not_after, .. } => {
                (format!("{whose}'s certificate expired at {}", time(*not_after)), by_clock)
            }
            CertificateError::Expired => (format!("{whose}'s certificate has expired"), by_clock),
            CertificateError::NotValidYetContext { not_before, .. } => (
                format!("{whose}'s certificate is not valid before {}", time(*not_before)),
                format!("set this machine's clock, which says {clock}, if it is wrong"),
            ),
            CertificateError::NotValidYet => (
                format!("{whose}'s certificate is not valid yet"),
                format!("set this machine's clock, which says {clock}, if it is wrong"),
            ),
            CertificateError::NotValidForNameContext { expected, presented } => (
                format!("{whose}'s certificate is for {}, not for {}", names(presented), expected.to_str()),
                checks.name.to_owned(),
            ),
            CertificateError::NotValidForName => {
                (format!("{whose}'s certificate is for another name"), checks.name.to_owned())
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => (
                format!("{whose}'s certificate comes from no CA that is trusted here"),
                checks.trust.to_owned(),
            ),
            // The library of the rules for certificates says which one was broken by a name alone.
            CertificateError::Other(said) if said.to_string().contains("CaUsedAsEndEntity") => (
                format!("{whose}'s own certificate is one of a CA"),
                format!("{}, with one that a CA issued", checks.owner),
            ),
            // What the operating system said, without rustls' words around it.
            CertificateError::Other(said) => (
                format!("{whose}'s certificate cannot be accepted: {said}"),
                format!("{}, or {}", checks.trust, checks.owner),
            ),
            certificate => (
                format!("{whose}'s certificate cannot be accepted: {certificate}"),
                format!("{}, or {}", checks.trust, checks.owner),
            ),
        },
        rustls::Error::InvalidMessage(_) => (
            format!("{whose} does not speak TLS at this address"),
            "check the scheme and the port of the address".to_owned(),
        ),
        cause => (format!("no secure connection to {whose}: {cause}"), checks.trust.to_owned()),
    }
}

/// The first few names of a certificate, which rustls gives as `DnsName("a.example")`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let name = name.split_once('(').map_or(name.as_str(), |(_, name)| name);
        name.trim_end_matches(')').trim_matches('"').to_owned()
    };
    let mut names: Vec<_> = presented.iter().take(3).map(bare).collect();
    match presented.len() {
        0 => names.push("no name".to_owned()),
        count if count > 3 => names.push("others".to_owned()),
        _ => {}
    }
    names.join(", ")
}

fn time(at: UnixTime) -> String {
    let at = i64::try_from(at.as_secs()).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    at.unwrap_or(DateTime::<Utc>::MAX_UTC).to_rfc3339_opts(SecondsFormat::Secs, true)
}
