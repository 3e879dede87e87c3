//! `keyplane`: the server. Parses its arguments and delegates.

mod api;
mod controllers;
mod exchange;
mod index;
mod runtime;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    runtime::run(runtime::Arguments::parse())
}
