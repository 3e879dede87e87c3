//! The log: to stderr, without colour unless a terminal reads it.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::arguments::{CommonArguments, LogFormat};

/// Starts the log.
///
/// # Errors
/// When the filter is not one.
pub(super) fn start(arguments: &CommonArguments) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&arguments.log).map_err(|error| {
        anyhow::anyhow!(
            "--log {}: {error}; use a level such as info or a filter such as keyplane=debug",
            arguments.log
        )
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match arguments.log_format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
