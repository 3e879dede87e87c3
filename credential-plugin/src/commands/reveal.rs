//! `reveal`.

use std::io::Write;

use clap::Args;

use crate::failure::Failure;

/// The arguments of `reveal`.
#[derive(Args, Debug)]
pub struct RevealArgs {}

/// Not there yet.
///
/// # Errors
/// None yet.
pub fn run(_args: &RevealArgs, _out: &mut impl Write, _terminal: &mut impl Write) -> Result<(), Failure> {
    Ok(())
}
