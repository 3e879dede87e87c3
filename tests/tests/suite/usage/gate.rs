//! A way to a server that can be shut, or let requests in and no answers out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const OPEN: u8 = 0;
const SHUT: u8 = 1;
const SWALLOWING: u8 = 2;

/// Forwards connections; ends when it is dropped.
pub(super) struct Gate {
    address: SocketAddr,
    mode: Arc<AtomicU8>,
    swallowed: Arc<AtomicU64>,
    shut: watch::Sender<u64>,
    _forwarding: JoinSet<()>,
}

impl Gate {
    /// A gate before the server of this URL, open.
    pub(super) async fn before(server_url: &str) -> Result<Self> {
        let server = server_url.trim_end_matches('/').rsplit_once("://").context("a URL")?.1.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mode = Arc::new(AtomicU8::new(OPEN));
        let swallowed = Arc::new(AtomicU64::new(0));
        let shut = watch::Sender::new(0);
        let mut forwarding = JoinSet::new();
        let passing = Passing { server, mode: mode.clone(), swallowed: swallowed.clone() };
        forwarding.spawn(accept(listener, passing, shut.subscribe()));
        Ok(Self { address, mode, swallowed, shut, _forwarding: forwarding })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets everything through.
    pub(super) fn open(&self) {
        self.mode.store(OPEN, Ordering::SeqCst);
    }

    /// Lets nothing through, and cuts what is connected.
    pub(super) fn shut(&self) {
        self.mode.store(SHUT, Ordering::SeqCst);
        self.shut.send_modify(|count| *count += 1);
    }

    /// Lets requests through and cuts the connection when the answer comes.
    pub(super) fn swallow_answers(&self) {
        self.mode.store(SWALLOWING, Ordering::SeqCst);
    }

    /// How many answers it has swallowed.
    pub(super) fn swallowed(&self) -> u64 {
        self.swallowed.load(Ordering::SeqCst)
    }
}

/// Where connections go, and what becomes of answers.
#[derive(Clone)]
struct Passing {
    server: String,
    mode: Arc<AtomicU8>,
    swallowed: Arc<AtomicU64>,
}

async fn accept(listener: TcpListener, passing: Passing, shut: watch::Receiver<u64>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        if passing.mode.load(Ordering::SeqCst) == SHUT {
            continue;
        }
        let (passing, mut shut) = (passing.clone(), shut.clone());
        shut.mark_unchanged();
        connections.spawn(async move {
            tokio::select! {
                _ = forward(client, &passing) => {}
                _ = shut.changed() => {}
            }
        });
    }
}

async fn forward(mut client: TcpStream, passing: &Passing) -> Result<()> {
    let mut server = TcpStream::connect(&passing.server).await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let asking = tokio::io::copy(&mut from_client, &mut to_server);
    let answering = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from_server.read(&mut buffer).await?;
            if count == 0 {
                return anyhow::Ok(());
            }
            if passing.mode.load(Ordering::SeqCst) == SWALLOWING {
                passing.swallowed.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            to_client.write_all(buffer.get(..count).unwrap_or_default()).await?;
        }
    };
    tokio::select! {
        _ = asking => Ok(()),
        ended = answering => ended,
    }
}
