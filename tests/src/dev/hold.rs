//! A process that holds a control plane and nothing else: tests kill it to see what stays behind.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::control_plane::ControlPlane;

/// What the holder prints, as one line of JSON, once its control plane is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    /// The control plane's directory.
    pub dir: PathBuf,
    /// Its programs' process ids.
    pub pids: Vec<u32>,
}

/// Starts a control plane, prints [`Held`], and holds it until standard input ends.
///
/// # Errors
/// When it does not start.
pub async fn hold() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let held = Held { dir: control_plane.dir().to_path_buf(), pids: control_plane.pids() };
    writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(&held)?)?;
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(())
}
