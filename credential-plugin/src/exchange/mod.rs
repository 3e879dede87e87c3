//! The exchange: where it is, whom to trust as it, what is asked of it, and what its answers mean.

pub mod address;
pub mod allowed;
pub mod answer;
pub mod arguments;
pub mod client;
mod connection_race;
pub(crate) mod connector;
pub(crate) mod no_answer;
pub mod port;
pub mod proxy;
pub mod retry_rule;
