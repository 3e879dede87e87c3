//! `logout`.

use std::io::Write;

use clap::Args;

use crate::failure::Failure;

/// The arguments of `logout`.
#[derive(Args, Debug)]
pub struct LogoutArgs {}

/// Not there yet.
///
/// # Errors
/// None yet.
pub fn run(_args: &LogoutArgs, _out: &mut impl Write, _terminal: &mut impl Write) -> Result<(), Failure> {
    Ok(())
}
