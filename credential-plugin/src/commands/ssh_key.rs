//! `ssh_key`.

use std::io::Write;

use clap::Args;

use crate::failure::Failure;

/// The arguments of `ssh_key`.
#[derive(Args, Debug)]
pub struct SshKeyArgs {}

/// Not there yet.
///
/// # Errors
/// None yet.
pub fn run(_args: &SshKeyArgs, _out: &mut impl Write, _terminal: &mut impl Write) -> Result<(), Failure> {
    Ok(())
}
