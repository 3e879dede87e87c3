//! A Redis of a test's own.

use std::path::Path;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::launch::Launch;
use crate::ports;
use crate::programs;
use crate::supervised::{Ending, Supervised};
use crate::waiting::{PATIENCE, Seen, until};

/// A running redis-server that keeps its data in an append-only file: it is stopped when this is dropped.
#[derive(Debug)]
pub struct Redis {
    server: Supervised,
    port: u16,
}

impl Redis {
    /// Starts one on a free port of the loopback address, with its data in a directory of its own in `dir`, and waits
    /// until it answers. `name` tells it from others in the same directory.
    ///
    /// # Errors
    /// When redis-server is not on `PATH`, or does not start.
    pub async fn start(supervise: &Path, dir: &Path, name: &str) -> Result<Self> {
        let program = programs::on_path("redis-server")
            .context("redis-server is missing: on Debian, apt-get install redis-server")?;
        let data = dir.join(name);
        std::fs::create_dir_all(&data)?;
        let [port] = ports::free()?;
        let launch = Launch {
            name: name.to_owned(),
            program,
            arguments: [
                "--bind".into(),
                "127.0.0.1".into(),
                "--port".into(),
                port.to_string().into(),
                "--dir".into(),
                data.into_os_string(),
                "--appendonly".into(),
                "yes".into(),
                // The append-only file is enough.
                "--save".into(),
                "".into(),
            ]
            .into(),
            dir: dir.to_path_buf(),
        };
        let redis = Self { server: Supervised::start(supervise, dir, launch, Ending::AtOnce).await?, port };
        redis.answers().await?;
        Ok(redis)
    }

    /// Its address, as `--usage-store` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// When it had ended before.
    pub fn kill_9(&self) -> Result<()> {
        self.server.kill_9()
    }

    /// Starts it again with the data it has, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&self) -> Result<()> {
        self.server.restart().await?;
        self.answers().await
    }

    async fn answers(&self) -> Result<()> {
        until("redis-server to answer", PATIENCE, || async {
            self.server.check_running()?;
            Ok(match ping(self.port).await {
                Ok(()) => Seen::Done(()),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            })
        })
        .await
    }
}

/// Asks for the answer that a server gives when its data is loaded.
async fn ping(port: u16) -> Result<()> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    connection.write_all(b"PING\r\n").await?;
    let mut answer = [0; 5];
    connection.read_exact(&mut answer).await?;
    anyhow::ensure!(&answer == b"+PONG", "{}", String::from_utf8_lossy(&answer));
    Ok(())
}
