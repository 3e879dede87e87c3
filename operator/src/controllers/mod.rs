//! The reconcilers: for each resource observe (memory only), plan (the pure core), execute.

mod account;
mod api_key;
mod dispatch;
mod error;
mod execute;
mod namespace;
mod orphans;
mod reconcile;
mod ssh_key;
mod watches;

pub(crate) use watches::run;
