//! What an answer of the exchange means: a token, a final refusal, or come back later. Pure and total.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::exchange::retry_rule::Setback;
use crate::exec_protocol::KIND;
use crate::failure::{Failure, FailureKind};
use crate::token::BearerToken;
use crate::token::life::TokenLife;

/// What the seed's API says to a key it does not accept; shown when the answer has no words of its own.
const REFUSED: &str = "Missing, invalid, revoked, or expired API key";

/// How the exchange, and the plugin, ask for patience.
const COME_BACK: &str = "try again";

/// An HTTP answer, as far as it matters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// The header `content-type`.
    pub content_type: Option<&'a str>,
    /// The header `date`.
    pub date: Option<&'a str>,
    /// The header `retry-after`.
    pub retry_after: Option<&'a str>,
    /// The header `location`.
    pub location: Option<&'a str>,
    /// The body; none when it was larger than is read.
    pub body: Option<&'a [u8]>,
}

/// What to do about an answer.
#[derive(Debug)]
pub enum Verdict<T> {
    /// Here is what was asked for. Whether a token lives long enough is not judged yet.
    Given(T),
    /// Not now: ask again as the retry rule says; the failure is what to tell when it says no.
    Later(Setback, Failure),
    /// No, and asking again would change nothing.
    Final(Failure),
}

#[derive(Deserialize)]
struct CredentialAnswer {
    kind: String,
    status: CredentialStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialStatus {
    token: BearerToken,
    expiration_timestamp: DateTime<Utc>,
}

/// `application/problem+json` (RFC 9457), as far as it matters here.
#[derive(Default, Deserialize)]
struct Problem {
    detail: Option<String>,
    code: Option<String>,
}

/// Judges an answer to the request for a token that left at `asked_at` (local time) for the exchange at `base`.
#[must_use]
pub fn judge(answer: &Answer<'_>, asked_at: DateTime<Utc>, base: &str) -> Verdict<(BearerToken, TokenLife)> {
    judge_with(answer, asked_at, base, |answer| credential(answer, asked_at, base))
}

/// Judges an answer of the exchange at `base` to a request that left at `asked_at` (local time); `read` judges one
/// that is no error.
pub fn judge_with<T>(
    answer: &Answer<'_>,
    asked_at: DateTime<Utc>,
    base: &str,
    read: impl FnOnce(&Answer<'_>) -> Verdict<T>,
) -> Verdict<T> {
    let problem: Problem = answer.body.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let detail = problem.detail.filter(|detail| !detail.trim().is_empty());
    // When to come back is said once, in our own words, which know the seconds.
    let detail = detail.map(|detail| match detail.rsplit_once(';') {
        Some((what, remedy)) if remedy.trim_start().starts_with(COME_BACK) => what.to_owned(),
        _ => detail,
    });
    let with_detail = |what: &str| match &detail {
        Some(detail) => format!("{what}: {detail}"),
        None => what.to_owned(),
    };
    let failure = |kind, what: String, remedy: &str| Verdict::Final(Failure::new(kind, what, base, remedy));
    let pause = pause_asked(answer, asked_at);
    match answer.status {
        200 | 201 => read(answer),
        300..=399 => failure(
            FailureKind::Server,
            format!(
                "the exchange answered with a redirect to {:?}, which is not followed: the key must not go elsewhere",
                answer.location.unwrap_or_default()
            ),
            "give the exchange's own address with --server",
        ),
        // A proxy, a portal and the API server say the same without knowing the key.
        401 | 403 if !is_problem(answer.content_type) => failure(
            FailureKind::Server,
            format!("this address answered {}, but not as a Keyplane exchange does", answer.status),
            "check --server (the API server's address belongs in --cluster-server)",
        ),
        401 | 403 => {
            let code = problem.code.unwrap_or_default();
            Verdict::Final(refusal(answer.status, &code, detail.as_deref(), base))
        }
        429 => Verdict::Final(
            Failure::new(
                FailureKind::Busy,
                with_detail("the exchange has too many requests"),
                base,
                come_back(pause),
            )
            .asking_for_a_pause(pause),
        ),
        503 => Verdict::Later(
            Setback::NotReady(pause),
            Failure::new(FailureKind::Busy, with_detail("the exchange is not ready"), base, come_back(pause))
                .asking_for_a_pause(pause),
        ),
        status => failure(
            FailureKind::Server,
            with_detail(&format!("the exchange answered {status}")),
            "check that --server is a Keyplane exchange, and look into its log",
        ),
    }
}

/// What it means that the exchange does not let the key (401) or does not let it do this (403).
///
/// The `code` says more than the sentence of a 401, which is the same for all: who learns from the code that a key has
/// ended holds that key.
fn refusal(status: u16, code: &str, detail: Option<&str>, base: &str) -> Failure {
    let told = |what: &str| match detail {
        Some(detail) => format!("{what}: {detail}"),
        None => what.to_owned(),
    };
    let (kind, what, remedy) = match (status, code) {
        (401, "api_key_expired") => (
            FailureKind::Expired,
            "the key has expired".to_owned(),
            "an expired key stays so: ask its owner for a new one (kubectl keyplane generate), and give it with \
             kubectl keyplane login, --key-file or KEYPLANE_API_KEY",
        ),
        (401, "api_key_revoked") => (
            FailureKind::Refused,
            "the key was revoked".to_owned(),
            "a revoked key never works again: give another one with kubectl keyplane login, --key-file or KEYPLANE_API_KEY",
        ),
        (401, _) => (
            FailureKind::Refused,
            format!("the exchange refused the key: {}", detail.unwrap_or(REFUSED)),
            "give a key that is valid now with kubectl keyplane login, --key-file or KEYPLANE_API_KEY",
        ),
        (_, "key_locked") => (
            FailureKind::Locked,
            "the key is locked: it was used from addresses outside its list".to_owned(),
            "its owner looks at status.securityEvents, then unlocks it: kubectl keyplane apikeys unlock NAME",
        ),
        (_, "address_not_allowed") => (
            FailureKind::Forbidden,
            "the key may not be used from this address".to_owned(),
            "use it from an address in spec.allowedCidrs of the ApiKey, or ask its owner to add this one (behind a \
             proxy or VPN it is theirs); more attempts may lock the key",
        ),
        (_, "key_not_ready") => (
            FailureKind::Forbidden,
            detail.unwrap_or("the key is not ready").to_owned(),
            "its owner sees why in the condition Ready: kubectl describe apikeys",
        ),
        (_, "scope_without_kubernetes") => (
            FailureKind::Forbidden,
            "the key's scope does not include Kubernetes".to_owned(),
            "use a key with scope kubernetes_exec or all",
        ),
        (_, "insufficient_scope") => (
            FailureKind::Forbidden,
            detail.unwrap_or("the key's scope does not include this").to_owned(),
            "use a key of that scope: kubectl get apikeys shows each key's",
        ),
        _ => (
            FailureKind::Forbidden,
            told("the exchange does not let this key do this"),
            "check the key's scope and condition Ready with: kubectl get apikeys",
        ),
    };
    Failure::new(kind, what, base, remedy)
}

/// Whether the answer is an error as the exchange writes them: `application/problem+json`.
fn is_problem(content_type: Option<&str>) -> bool {
    content_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/problem+json"))
}

fn credential(answer: &Answer<'_>, asked_at: DateTime<Utc>, base: &str) -> Verdict<(BearerToken, TokenLife)> {
    let wrong = |what: &str| {
        Verdict::Final(Failure::new(
            FailureKind::Server,
            what,
            base,
            "check that --server is a Keyplane exchange and that no proxy changes its answers",
        ))
    };
    let Some(body) = answer.body else {
        return wrong("the exchange's answer is larger than 64 KiB");
    };
    // The parser's own words could quote the token.
    let Ok(credential) = serde_json::from_slice::<CredentialAnswer>(body) else {
        return wrong("the exchange's answer is no ExecCredential with a token and its end");
    };
    if credential.kind != KIND {
        return wrong("the exchange's answer is of another kind than ExecCredential");
    }
    let date = answer.date.and_then(http_date);
    let life = TokenLife::of_answer(asked_at, date, credential.status.expiration_timestamp);
    Verdict::Given((credential.status.token, life))
}

/// How long `Retry-After` asks to wait (RFC 9110, section 10.2.3): seconds, or a date on the exchange's own clock, or on
/// ours when the answer has no `date`.
fn pause_asked(answer: &Answer<'_>, asked_at: DateTime<Utc>) -> Option<Duration> {
    let asked = answer.retry_after?.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = answer.date.and_then(http_date).unwrap_or(asked_at);
    // A date that has passed asks for no pause.
    Some(http_date(asked)?.signed_duration_since(now).to_std().unwrap_or_default())
}

/// A date of HTTP in any of its three forms (RFC 9110, section 5.6.7).
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    httpdate::parse_http_date(text).ok().map(DateTime::from)
}

fn come_back(pause: Option<Duration>) -> String {
    match pause {
        Some(pause) => format!("{COME_BACK} in {} s", pause.as_secs()),
        None => format!("{COME_BACK} in a moment"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, judge};
    use chrono::DateTime;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_answer_is_judged_without_a_panic(
            status: u16,
            content_type in proptest::option::of("application/problem\\+json|[ -~]{0,30}"),
            date in proptest::option::of(".{0,40}"),
            retry_after in proptest::option::of("[0-9a-z]{0,30}"),
            body in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
        ) {
            let answer = Answer {
                status,
                content_type: content_type.as_deref(),
                date: date.as_deref(),
                retry_after: retry_after.as_deref(),
                location: None,
                body: body.as_deref(),
            };
            let _ = judge(&answer, DateTime::UNIX_EPOCH, "https://exchange.example");
        }
    }
}
