//! The key: whether there is one, where it comes from, and what the exchange says to it.

use chrono::{DateTime, TimeDelta, Utc};

use crate::commands::whoami::{Identity, until};
use crate::doctor::finding::Finding;
use crate::failure::{Failure, FailureKind};
use crate::token::life::{LEAST_LIFE, TokenLife};

/// The check of the key itself.
pub const KEY: &str = "key";
/// The check of what the exchange knows of it.
pub const WHOAMI: &str = "whoami";
/// The check of the swap.
pub const TOKEN: &str = "token";
/// What is left of a key when its end is worth a line: time to ask its owner.
const SOON: TimeDelta = TimeDelta::days(7);

/// A key as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySeen {
    /// Where.
    pub source: String,
    /// What may be shown of it.
    pub prefix: String,
}

/// Whether there is a key that can be used; none when finding it took too long.
#[must_use]
pub fn judge_key(key: Option<Result<&KeySeen, &Failure>>) -> Finding {
    match key {
        Some(Ok(key)) => Finding::ok(KEY, format!("{} from {}", key.prefix, key.source)),
        Some(Err(failure)) => Finding::of_failure(KEY, failure),
        None => Finding::problem(
            KEY,
            "the key is not there in time",
            "unlock what keeps it, such as the keyring, or give more time with --timeout SECONDS",
        ),
    }
}

/// What the exchange says about the key.
#[must_use]
pub fn judge_identity(identity: Result<&Identity, &Failure>, now: DateTime<Utc>) -> Finding {
    let identity = match identity {
        Ok(identity) => identity,
        Err(failure) => return Finding::of_failure(WHOAMI, failure),
    };
    let Identity { account, name, prefix, .. } = identity;
    let whose = format!("account {account}, key {name} ({prefix})");
    if !identity.gives_kubernetes_access() {
        return Finding::problem(
            WHOAMI,
            format!("{whose}: its scope gives no access with kubectl"),
            "use a key with scope kubernetes_exec or all",
        );
    }
    let rotate = format!("have it rotated before: kubectl keyplane apikeys rotate {name}");
    match identity.expires_at {
        None => Finding::ok(WHOAMI, format!("{whose}, without an end")),
        Some(end) if end.signed_duration_since(now) < SOON => {
            Finding::hint(WHOAMI, format!("{whose} ends soon: {}", until(end, now)), Some(&rotate))
        }
        Some(end) => Finding::ok(WHOAMI, format!("{whose}, until {}", until(end, now))),
    }
}

/// Whether the exchange gives a token that lives long enough to be handed out.
#[must_use]
pub fn judge_token(life: Result<TokenLife, &Failure>, now: DateTime<Utc>) -> Finding {
    match life {
        Ok(life) if life.may_be_handed_out(now) => {
            Finding::ok(TOKEN, format!("the exchange gives one, until {}", until(life.expires_at(), now)))
        }
        Ok(life) => Finding::problem(
            TOKEN,
            format!(
                "the exchange's token has less than {} s left: {}",
                LEAST_LIFE.num_seconds(),
                until(life.expires_at(), now)
            ),
            "use a key that lives longer (spec.expiresAt of the ApiKey)",
        ),
        Err(failure) => Finding::of_failure(TOKEN, failure),
    }
}

/// Whether the failure says that the key itself is not let in: asking for a token would say it again.
#[must_use]
pub const fn is_refusal(failure: &Failure) -> bool {
    matches!(
        failure.kind(),
        FailureKind::Refused | FailureKind::Forbidden | FailureKind::Locked | FailureKind::Expired
    )
}
