//! What `make up` remembers between two calls.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::components::ControlPlanePorts;
use crate::keyplane_process::KeyplanePorts;
use crate::{private_file, workspace};

/// The development environment's directory. Process ids are in `.pid` files beside the state.
pub(crate) fn dir() -> PathBuf {
    workspace::target().join("dev")
}

/// Held while the environment is changed: two calls at once would start everything twice.
///
/// # Errors
/// When the target directory cannot be written to.
pub(crate) fn lock() -> Result<File> {
    let path = workspace::target().join("dev.lock");
    std::fs::create_dir_all(workspace::target())?;
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    file.lock()?;
    Ok(file)
}

/// The state file, `state.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// The context of an existing cluster; none when the control plane is our own.
    pub(crate) context: Option<String>,
    /// Our control plane's ports; none before its first start.
    pub(crate) cluster_ports: Option<ControlPlanePorts>,
    /// Keyplane's ports; none before its first start.
    pub(crate) keyplane_ports: Option<KeyplanePorts>,
    /// Which build of Keyplane was started.
    pub(crate) keyplane_build: Option<String>,
}

impl State {
    /// What the last call remembered, if there was one.
    ///
    /// # Errors
    /// When the file is there and cannot be understood.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join("state.json");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let state = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not what `make up` writes: run `make down`", path.display()))?;
        Ok(Some(state))
    }

    /// Remembers it.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        private_file::write(&dir.join("state.json"), serde_json::to_vec_pretty(self)?)
    }
}
