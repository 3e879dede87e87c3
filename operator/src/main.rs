//! `keyplane`: the server.

use std::process::ExitCode;

fn main() -> ExitCode {
    keyplane_operator::run()
}
