//! What a role of ours leaves out of the role of Kubernetes' that it resembles.

use std::str::FromStr;

use anyhow::{Context as _, Error, Result};

use super::grant::RuleKey;

/// A line of the annotation [`super::OMITTED`]: `verb resource[.group]: reason`, with `*` for any verb or resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omission {
    /// The verb.
    pub verb: String,
    /// The resource.
    pub resource: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// Why.
    pub reason: String,
}

impl Omission {
    /// Whether this right is left out.
    #[must_use]
    pub fn covers(&self, key: &RuleKey, verb: &str) -> bool {
        let matches = |pattern: &str, text: &str| pattern == "*" || pattern == text;
        self.group == key.group && matches(&self.resource, &key.resource) && matches(&self.verb, verb)
    }
}

impl FromStr for Omission {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let parts = || {
            let (right, reason) = line.split_once(": ")?;
            let (verb, resource) = right.split_once(' ')?;
            Some((verb, resource, reason))
        };
        let (verb, resource, reason) =
            parts().with_context(|| format!("`{line}` is not `verb resource.group: reason`"))?;
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        Ok(Self {
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            group: group.to_owned(),
            reason: reason.to_owned(),
        })
    }
}
