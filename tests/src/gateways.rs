//! Real proxies in front of an API, with the files of `examples/gateways`: each asks Keyplane about every request's key.

mod api;
mod client;
pub mod connections;
mod proxy;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Result;

use crate::launch::Launch;
use crate::ports::{self, PortTaken};
use crate::supervised::{Ending, Supervised};
use crate::waiting::{PATIENCE, Seen, until};

pub use api::{GuardedApi, Received};
pub use client::{Answer, Request};
pub use proxy::Proxy;

use proxy::{Command, Places};

/// The name of the guarded API in all files.
const HOST: &str = "api.example.com";

/// How often other ports are tried when one was taken in the moment between choosing and listening.
const ATTEMPTS: u32 = 4;

/// A running proxy: it is stopped when this is dropped.
#[derive(Debug)]
pub struct Gateway {
    process: Supervised,
    address: SocketAddr,
}

impl Gateway {
    /// Starts a proxy that asks the internal listener at `keyplane` and guards `api`, with its files in a directory of
    /// its own in `dir`, and waits until it refuses who shows no key. `name` tells it from others in `dir`.
    ///
    /// # Errors
    /// When the program is missing (the message says how to install it) or ends.
    pub async fn start(
        proxy: Proxy,
        supervise: &Path,
        dir: &Path,
        name: &str,
        keyplane: SocketAddr,
        api: &GuardedApi,
    ) -> Result<Self> {
        let mut attempt = 1;
        loop {
            let [port] = ports::free()?;
            let listen = (Ipv4Addr::LOCALHOST, port).into();
            let places = Places { listen, keyplane, api: api.address() };
            match Self::start_once(proxy, supervise, dir, name, places).await {
                Err(error) if error.is::<PortTaken>() && attempt < ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn start_once(
        proxy: Proxy,
        supervise: &Path,
        dir: &Path,
        name: &str,
        places: Places,
    ) -> Result<Self> {
        let own = dir.join(name);
        std::fs::create_dir_all(&own)?;
        // The first of a run installs what is missing.
        let prepared = tokio::task::spawn_blocking(move || proxy.prepare(&own, places));
        let Command { program, arguments } = prepared.await??;
        let launch = Launch { name: name.to_owned(), program, arguments, dir: dir.to_path_buf() };
        let process = Supervised::start(supervise, dir, launch, Ending::AtOnce).await?;
        let gateway = Self { process, address: places.listen };
        gateway.refuses().await?;
        Ok(gateway)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.launch().log()
    }

    async fn refuses(&self) -> Result<()> {
        let request = Request {
            from: Ipv4Addr::LOCALHOST,
            method: "GET",
            target: "/",
            headers: Vec::new(),
            body: Vec::new(),
        };
        until(&format!("{} to refuse", self.process.launch().name), PATIENCE, || async {
            self.process.check_running()?;
            Ok(match request.send(self.address).await {
                Ok(answer) if answer.status == 401 => Seen::Done(()),
                other => Seen::NotYet(format!("{other:?}; its log: {}", self.log())),
            })
        })
        .await
    }
}
