//! `doctor`: what keeps kubectl from working, found in the order in which one thing rests on another.
//!
//! Each file is one check: an observation in a struct, and a pure rule that makes [findings](finding) of it.
//! [`examination`] says which check comes after which.

pub mod access;
pub mod api_server;
pub mod cache;
pub mod clock;
pub mod config_files;
pub mod context;
pub mod examination;
pub mod exchange;
pub mod finding;
pub mod key;
pub mod kuberc;
pub mod plugin_policy;
mod probe;
pub mod programs;
mod search_path;
mod shell;
mod time_limit;
pub mod user_entry;
