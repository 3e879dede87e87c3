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

/// `application/problem+json` (RFC 9457), as far as a person reads it.
#[derive(Default, Deserialize)]
struct Problem {
    detail: Option<String>,
}

/// Judges an answer to the request for a token that left at `asked_at` (local time) for the exchange at `base`.
#[must_use]
pub fn judge(answer: &Answer<'_>, asked_at: DateTime<Utc>, base: &str) -> Verdict<(BearerToken, TokenLife)> {
    judge_with(answer, base, |answer| credential(answer, asked_at, base))
}

/// Judges an answer of the exchange at `base`; `read` judges one that is no error.
pub fn judge_with<T>(
    answer: &Answer<'_>,
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
        401 => failure(
            FailureKind::Refused,
            format!("the exchange refused the key: {}", detail.as_deref().unwrap_or(REFUSED)),
            "give a key that is valid now with --key-file or KEYPLANE_API_KEY",
        ),
        403 => failure(
            FailureKind::Forbidden,
            with_detail("the key gives no Kubernetes access"),
            "check the key's scope and condition Ready with: kubectl get apikeys",
        ),
        429 => Verdict::Final(
            Failure::new(
                FailureKind::Busy,
                with_detail("the exchange has too many requests"),
                base,
                come_back(answer.retry_after),
            )
            .asking_for_a_pause(seconds(answer.retry_after)),
        ),
        503 => Verdict::Later(
            Setback::NotReady(seconds(answer.retry_after)),
            Failure::new(
                FailureKind::Busy,
                with_detail("the exchange is not ready"),
                base,
                come_back(answer.retry_after),
            )
            .asking_for_a_pause(seconds(answer.retry_after)),
        ),
        status => failure(
            FailureKind::Server,
            with_detail(&format!("the exchange answered {status}")),
            "check that --server is a Keyplane exchange, and look into its log",
        ),
    }
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
    let date = answer.date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()).map(|date| date.to_utc());
    let life = TokenLife::of_answer(asked_at, date, credential.status.expiration_timestamp);
    Verdict::Given((credential.status.token, life))
}

/// `Retry-After` in seconds; its other form, a date, is not used by the exchange and not read.
fn seconds(retry_after: Option<&str>) -> Option<Duration> {
    retry_after?.trim().parse().ok().map(Duration::from_secs)
}

fn come_back(retry_after: Option<&str>) -> String {
    match seconds(retry_after) {
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
