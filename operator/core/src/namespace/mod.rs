//! `Namespace`: the core Namespace of an account's workloads and what keeps it within bounds.

mod plan;
mod provisions;

pub(crate) use plan::account_not_found;
pub use plan::{ObservedNamespace, plan};
