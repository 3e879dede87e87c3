//! The server as a library: the binary `keyplane` calls [`run`], and tests use [`key_use`] without a server around it.

mod api;
pub mod audit;
mod caller;
mod controllers;
mod declared;
mod exchange;
mod index;
mod issued_kubeconfig;
pub mod key_use;
mod metrics;
mod runtime;

use std::process::ExitCode;

use clap::Parser;

/// Parses the command line and runs what it asks for, until that fails or a signal ends it.
#[must_use]
pub fn run() -> ExitCode {
    runtime::run(runtime::Arguments::parse())
}
