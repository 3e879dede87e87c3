//! What the exchange says about a key at `GET /v1/whoami`, in JSON as it came and in words for a person.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use keyplane_core::key_format::PlaintextKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::exchange::address::{ExchangeAddress, WHOAMI_PATH};
use crate::exchange::client;
use crate::failure::{Failure, FailureKind};

/// A key as the exchange knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The account that it belongs to.
    pub account: String,
    /// The id of its `ApiKey`.
    pub id: String,
    /// The name of its `ApiKey`.
    pub name: String,
    /// What people call it.
    #[serde(default)]
    pub display_name: Option<String>,
    /// What may be shown of it.
    pub prefix: String,
    /// What it may do: one scope, as the exchange writes it. One that this program does not know stays as it came.
    pub scopes: Map<String, Value>,
    /// When it ends; none: not by itself.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
    /// From where it may be used; empty: from everywhere.
    #[serde(default)]
    pub allowed_cidrs: Vec<String>,
    /// The namespaces that it reaches now.
    #[serde(default)]
    pub namespaces: Vec<Namespace>,
}

/// A namespace that a key reaches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Namespace {
    /// Its id.
    pub id: String,
    /// Its name in the account.
    pub name: String,
    /// Its name for `kubectl -n`.
    pub kubernetes_name: String,
}

impl Identity {
    /// Asks the exchange, within the total `timeout`.
    ///
    /// # Errors
    /// As [`client::get`], and [`FailureKind::Server`] for an answer that is none.
    pub fn ask(exchange: &ExchangeAddress, key: &PlaintextKey, timeout: Duration) -> Result<Self, Failure> {
        let body = client::get(exchange, key, WHOAMI_PATH, timeout)?;
        Self::parse(&body).ok_or_else(|| {
            Failure::new(
                FailureKind::Server,
                "the exchange's answer does not say whose key it is",
                exchange.base.as_str(),
                "check that --server is a Keyplane exchange and that no proxy changes its answers",
            )
        })
    }

    /// Reads the exchange's answer. Why it is none is not said: the parser's words could quote what a hostile answer repeats.
    #[must_use]
    pub fn parse(answer: &[u8]) -> Option<Self> {
        serde_json::from_slice(answer).ok()
    }

    /// Whether kubectl can do anything with it.
    #[must_use]
    pub fn gives_kubernetes_access(&self) -> bool {
        ["kubernetes_exec", "all"].iter().any(|&scope| self.scopes.contains_key(scope))
    }

    /// What there is to say, line by line: what it is about, and what is to be said.
    #[must_use]
    pub fn lines(&self, now: DateTime<Utc>) -> Vec<(&'static str, String)> {
        let display = self.display_name.as_deref().map(|name| format!(" {name:?}")).unwrap_or_default();
        let mut lines = vec![
            ("Account", self.account.clone()),
            ("Key", format!("{} {}{display}", self.prefix, self.name)),
            ("Scope", self.scope()),
        ];
        if self.gives_kubernetes_access() {
            lines.push(("Namespaces", self.namespaces()));
        }
        lines.push(("Expires", self.expires_at.map_or_else(|| "never".to_owned(), |end| until(end, now))));
        let addresses = &self.allowed_cidrs;
        lines.push((
            "Usable from",
            if addresses.is_empty() { "everywhere".to_owned() } else { addresses.join(", ") },
        ));
        lines
    }

    fn scope(&self) -> String {
        let Some((scope, how)) = self.scopes.iter().next() else {
            return "nothing".to_owned();
        };
        match scope.as_str() {
            "kubernetes_exec" => {
                let role = how.get("role").and_then(Value::as_str).unwrap_or("edit");
                let place = if how.get("all_namespaces").and_then(Value::as_bool) == Some(true) {
                    "all namespaces of the account"
                } else {
                    "the namespaces below"
                };
                format!("kubectl, as {role} in {place}")
            }
            "all" => "everything that the account has".to_owned(),
            "inference" => "the inference API; no kubectl".to_owned(),
            "ssh_keys" => "the SSH key API; no kubectl".to_owned(),
            other => format!("{other}; no kubectl"),
        }
    }

    fn namespaces(&self) -> String {
        let shown = |namespace: &Namespace| {
            if namespace.name == namespace.kubernetes_name {
                namespace.name.clone()
            } else {
                format!("{} (kubectl -n {})", namespace.name, namespace.kubernetes_name)
            }
        };
        if self.namespaces.is_empty() {
            "none at the moment".to_owned()
        } else {
            self.namespaces.iter().map(shown).collect::<Vec<_>>().join(", ")
        }
    }
}

/// A time to come, with what is left until then.
#[must_use]
pub fn until(end: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let text = end.to_rfc3339_opts(SecondsFormat::Secs, true);
    let left = end.signed_duration_since(now);
    if left <= TimeDelta::zero() {
        return format!("{text} (over)");
    }
    let left = match (left.num_days(), left.num_hours(), left.num_minutes()) {
        (days @ 2.., ..) => format!("{days} days"),
        (_, hours @ 2.., _) => format!("{hours} hours"),
        (_, _, minutes @ 2..) => format!("{minutes} minutes"),
        _ => format!("{} seconds", left.num_seconds()),
    };
    format!("{text} (in {left})")
}
