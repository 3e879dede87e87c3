//! `whoami`.

use std::io::Write;

use clap::Args;

use crate::failure::Failure;

/// The arguments of `whoami`.
#[derive(Args, Debug)]
pub struct WhoamiArgs {}

/// Not there yet.
///
/// # Errors
/// None yet.
pub fn run(_args: &WhoamiArgs, _out: &mut impl Write, _terminal: &mut impl Write) -> Result<(), Failure> {
    Ok(())
}
