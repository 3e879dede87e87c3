//! Keyplane's rules as pure functions: no network, no files, no clock, no randomness of its own.
//!
//! A controller observes the cluster, asks a `plan` function here what should be done, and does just that.
//! The same functions decide what the exchange accepts, so that there is one place for each rule.
//!
//! With `default-features = false` only [`key_format`] remains; the credential plugin adds `ssh_private_key`.

pub mod key_format;

#[cfg(feature = "resources")]
pub mod account;
#[cfg(feature = "resources")]
pub mod api_key;
#[cfg(feature = "resources")]
pub mod audit;
#[cfg(feature = "resources")]
pub mod child;
#[cfg(feature = "resources")]
pub mod client_address;
#[cfg(feature = "resources")]
pub mod drift;
#[cfg(feature = "resources")]
pub mod ip_network;
#[cfg(feature = "resources")]
pub mod limits;
#[cfg(feature = "resources")]
pub mod namespace;
pub mod object_name;
#[cfg(feature = "resources")]
pub mod ownership;
#[cfg(feature = "resources")]
pub mod plan;
#[cfg(feature = "resources")]
mod provisioning;
#[cfg(feature = "resources")]
pub mod quantity;
#[cfg(feature = "resources")]
pub mod readiness;
#[cfg(feature = "resources")]
pub mod seniority;
#[cfg(feature = "resources")]
pub mod ssh_key;
#[cfg(feature = "ssh-private-keys")]
pub mod ssh_private_key;
#[cfg(feature = "resources")]
pub mod ssh_public_key;
