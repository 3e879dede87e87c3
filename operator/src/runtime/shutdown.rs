//! When the process is asked to end.

use std::sync::Once;

use tokio::signal::unix::{SignalKind, signal};

static SAID: Once = Once::new();

/// Waits for SIGTERM or SIGINT. The first of those who wait says so in the log.
///
/// # Errors
/// When signals cannot be received.
pub(crate) async fn requested() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    SAID.call_once(|| tracing::info!("stopping: {name}"));
    Ok(())
}
