//! One thread writes the lines, as many at a time as are waiting, and tells each sender when its line is written.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use keyplane_core::audit::AuditEvent;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::destination::Destination;
use crate::metrics::AuditMetrics;

/// How many lines may wait. A sender beyond that waits itself.
const WAITING_LINES: usize = 1024;
/// How many lines are written at once.
const LINES_AT_ONCE: usize = 256;

/// Why an event is not in the log. What it tells of must not be acknowledged then.
#[derive(Clone, Debug, Error)]
pub enum AuditError {
    /// The file or stdout does not take it: a full disk, a closed pipe.
    #[error("the audit log cannot be written: {0}")]
    Unwritten(Arc<io::Error>),
    /// The writer has ended.
    #[error("the audit log's writer has ended")]
    Ended,
}

/// The audit log. Clones write to the same place; the last one that is dropped ends the writer.
#[derive(Clone, Debug)]
pub struct AuditLog {
    lines: mpsc::Sender<Line>,
}

/// A line that waits to be written, and who waits for it.
struct Line {
    text: String,
    written: oneshot::Sender<Result<(), AuditError>>,
}

impl AuditLog {
    /// Opens the log at `path`, or stdout for `-`. A file that is missing is made with mode 0600; it may be moved away
    /// while it is written to.
    ///
    /// # Errors
    /// When it cannot be opened, or no thread can be started.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Self::counting(path, AuditMetrics::default())
    }

    /// [`AuditLog::open`], with what is written counted.
    ///
    /// # Errors
    /// As [`AuditLog::open`].
    pub(crate) fn counting(path: &Path, metrics: AuditMetrics) -> anyhow::Result<Self> {
        let destination = Destination::open(path)
            .with_context(|| format!("cannot open the audit log {}: see --audit-log", path.display()))?;
        let (lines, waiting) = mpsc::channel(WAITING_LINES);
        std::thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || write_all(destination, waiting, &metrics))
            .context("cannot start the audit log's thread")?;
        Ok(Self { lines })
    }

    /// Writes an event, and returns when its line is written.
    ///
    /// A caller that gives up waiting does not take the line back: it may be written all the same.
    ///
    /// # Errors
    /// When it cannot be written. It may then be in the log or not.
    pub async fn write(&self, event: &AuditEvent) -> Result<(), AuditError> {
        let (written, answer) = oneshot::channel();
        self.lines.send(Line { text: event.line(), written }).await.map_err(|_| AuditError::Ended)?;
        answer.await.map_err(|_| AuditError::Ended)?
    }
}

/// Writes lines until nobody can send any more.
fn write_all(mut destination: Destination, mut waiting: mpsc::Receiver<Line>, metrics: &AuditMetrics) {
    let mut batch = Vec::with_capacity(LINES_AT_ONCE);
    while waiting.blocking_recv_many(&mut batch, LINES_AT_ONCE) > 0 {
        let text: String = batch.iter().map(|line| line.text.as_str()).collect();
        let result =
            destination.write(text.as_bytes()).map_err(|error| AuditError::Unwritten(Arc::new(error)));
        metrics.written(batch.len(), result.is_ok());
        for line in batch.drain(..) {
            // Whoever does not wait any more needs no answer.
            let _ = line.written.send(result.clone());
        }
    }
}
