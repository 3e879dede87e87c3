//! The reconcilers: for each resource observe (memory only), plan (the pure core), execute.

mod account;
mod announce;
mod api_key;
mod delivery;
mod dispatch;
mod error;
mod execute;
mod issue;
mod namespace;
mod orphans;
mod reconcile;
mod seal;
mod ssh_key;
mod watches;

pub(crate) use watches::run;
