//! `Namespace`: the core Namespace of an account's workloads and what keeps it within bounds.

mod name;
mod plan;
mod provisions;

pub use name::{InvalidNamespaceName, check_name};
pub(crate) use plan::account_not_found;
pub use plan::{ObservedNamespace, plan};
