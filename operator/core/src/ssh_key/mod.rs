//! `SshKey`: which registrations stand, and which is the account's default.

mod plan;
mod standing;

pub use plan::{ObservedSshKey, plan};
pub use standing::{KeySummary, SshKeyFacts, Verdict, verdicts};
