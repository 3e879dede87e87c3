//! `login`.

use std::io::Write;

use clap::Args;

use crate::failure::Failure;

/// The arguments of `login`.
#[derive(Args, Debug)]
pub struct LoginArgs {}

/// Not there yet.
///
/// # Errors
/// None yet.
pub fn run(_args: &LoginArgs, _out: &mut impl Write, _terminal: &mut impl Write) -> Result<(), Failure> {
    Ok(())
}
