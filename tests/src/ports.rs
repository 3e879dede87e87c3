//! Ports that nothing listens on.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result, anyhow};

/// What a program says when somebody else was quicker to listen on its port.
const TAKEN: &str = "address already in use";

/// A program ended because its port had been taken between choosing and listening: try again with others.
#[derive(Debug)]
pub struct PortTaken {
    /// The program that found its port taken.
    pub program: String,
}

impl std::fmt::Display for PortTaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the port chosen for {} was taken by another program", self.program)
    }
}

impl std::error::Error for PortTaken {}

/// Chooses `N` different free ports of the loopback address.
///
/// All are held at once while choosing, so none comes twice. Another program can still take one before it
/// is used; see [`taken_according_to`].
///
/// # Errors
/// When the system has no port left.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    let held: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<std::io::Result<_>>()
        .context("no free port on 127.0.0.1")?;
    let ports: Vec<u16> =
        held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<std::io::Result<_>>()?;
    ports.try_into().map_err(|_| anyhow!("asked for {N} ports and did not get them"))
}

/// Whether a program's log says that its port was taken.
#[must_use]
pub fn taken_according_to(log: &str) -> bool {
    log.to_ascii_lowercase().contains(TAKEN)
}
