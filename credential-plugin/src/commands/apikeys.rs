//! `apikeys`.

use std::io::Write;

use clap::Args;

use crate::failure::Failure;

/// The arguments of `apikeys`.
#[derive(Args, Debug)]
pub struct ApiKeysArgs {}

/// Not there yet.
///
/// # Errors
/// None yet.
pub fn run(_args: &ApiKeysArgs, _out: &mut impl Write, _terminal: &mut impl Write) -> Result<(), Failure> {
    Ok(())
}
