//! What the API server's `/metrics` say, written down during a run that is kept: afterwards nobody answers.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Request;

use crate::access::Access;
use crate::private_file;

/// How often they are written down. The shared control plane of a run has no orderly end, so its last ones are up to so
/// old; metrics only grow.
const EVERY: Duration = Duration::from_secs(15);
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Writes the metrics down until it is dropped, and a last time then.
#[derive(Debug)]
pub(crate) struct MetricsRecord {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsRecord {
    /// Begins to write into `<dir>/kube-apiserver.metrics`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn begin(access: &Access, dir: &Path) -> Result<Self> {
        let (stop, stopped) = channel();
        let (access, file) = (access.clone(), dir.join("kube-apiserver.metrics"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("metrics-record".to_owned()).spawn(move || {
            loop {
                // A server that a test has killed answers nothing: what was written before stands.
                let _ = runtime.block_on(write(&access, &file));
                if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    let _ = runtime.block_on(write(&access, &file));
                    break;
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for MetricsRecord {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn write(access: &Access, file: &Path) -> Result<()> {
    let request = async {
        let client = access.client().await?;
        anyhow::Ok(client.request_text(Request::get("/metrics").body(Vec::new())?).await?)
    };
    let text = tokio::time::timeout(LIMIT, request).await.context("no answer in time")??;
    private_file::write(file, text)
}
