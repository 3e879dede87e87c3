//! `doctor`.

use std::io::Write;

use clap::Args;

use crate::failure::Failure;

/// The arguments of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {}

/// Not there yet.
///
/// # Errors
/// None yet.
pub fn run(_args: &DoctorArgs, _out: &mut impl Write, _terminal: &mut impl Write) -> Result<(), Failure> {
    Ok(())
}
