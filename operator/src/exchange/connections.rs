//! How many connections are open, in all and from one address: one too many is closed at once.
//!
//! Without a limit, whoever opens connections and says nothing takes the process's memory and file descriptors.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use futures::FutureExt;
use futures::future::BoxFuture;
use ipnet::IpNet;
use keyplane_core::ip_network;
use thiserror::Error;
use tokio::net::TcpStream;
use tower::Layer;

use super::address_block::AddressBlock;
use super::guarded_stream::GuardedStream;
use super::proxy_protocol::{Peer, PeerAcceptor};
use crate::metrics::ConnectionMetrics;
use crate::runtime::ApiArguments;

/// The open connections of a process, on all its ports. Clones count together.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    max: u32,
    max_per_address: u32,
    /// Who connects for many, and has no limit of its own.
    exempt: Vec<IpNet>,
    open: AtomicU32,
    by_address: Mutex<HashMap<AddressBlock, u32>>,
    metrics: ConnectionMetrics,
}

/// Why a connection is refused.
#[derive(Debug, Error, PartialEq, Eq)]
enum Refused {
    #[error("more than --max-connections {0} connections")]
    InAll(u32),
    #[error("more than --max-connections-per-address {0} connections from {1}")]
    FromAddress(u32, IpAddr),
}

impl Connections {
    /// As the arguments ask for.
    pub(super) fn new(arguments: &ApiArguments, metrics: ConnectionMetrics) -> Self {
        Self(Arc::new(Counts {
            max: arguments.max_connections,
            max_per_address: arguments.max_connections_per_address,
            exempt: arguments.trusted_proxy.clone(),
            open: AtomicU32::new(0),
            by_address: Mutex::default(),
            metrics,
        }))
    }

    /// An acceptor for one port, which learns from `peers` who is at the other end.
    pub(super) fn acceptor(&self, peers: PeerAcceptor) -> LimitedAcceptor {
        LimitedAcceptor { connections: self.clone(), peers }
    }

    fn open(&self) -> Result<Open, Refused> {
        let counts = &self.0;
        let is_free = |open: u32| (open < counts.max).then_some(open.saturating_add(1));
        if counts.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_free).is_err() {
            counts.metrics.refused();
            return Err(Refused::InAll(counts.max));
        }
        counts.metrics.opened();
        Ok(Open { counts: counts.clone(), block: None })
    }
}

impl Counts {
    fn by_address(&self) -> MutexGuard<'_, HashMap<AddressBlock, u32>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that counts for as long as this lives.
#[derive(Debug)]
pub(super) struct Open {
    counts: Arc<Counts>,
    /// Whom it counts for besides.
    block: Option<AddressBlock>,
}

impl Open {
    /// Counts it for this address too.
    fn by(mut self, address: IpAddr) -> Result<Self, Refused> {
        let counts = self.counts.clone();
        if ip_network::any_holds(&counts.exempt, address) {
            return Ok(self);
        }
        let block = AddressBlock::from(address);
        let mut by_address = counts.by_address();
        let open = by_address.entry(block).or_default();
        if *open >= counts.max_per_address {
            counts.metrics.refused();
            return Err(Refused::FromAddress(counts.max_per_address, address));
        }
        *open = open.saturating_add(1);
        self.block = Some(block);
        Ok(self)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
        self.counts.metrics.closed();
        let Some(block) = self.block else { return };
        let mut by_address = self.counts.by_address();
        let left = by_address.get(&block).map_or(0, |open| open.saturating_sub(1));
        if left == 0 {
            by_address.remove(&block);
        } else {
            by_address.insert(block, left);
        }
    }
}

/// Learns who is at the other end of each connection, and closes those that are too many before TLS begins.
#[derive(Clone, Debug)]
pub(super) struct LimitedAcceptor {
    connections: Connections,
    peers: PeerAcceptor,
}

impl<S: Send + 'static> Accept<TcpStream, S> for LimitedAcceptor {
    type Stream = GuardedStream<TcpStream, Open>;
    type Service = AddExtension<S, Peer>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, mut stream: TcpStream, service: S) -> Self::Future {
        let Self { connections, peers } = self.clone();
        async move {
            // A connection counts while a proxy tells whose it is.
            let counted = async {
                let open = connections.open().map_err(io::Error::other)?;
                let peer = peers.peer(&mut stream).await.map_err(io::Error::other)?;
                Ok((open.by(peer.0.ip).map_err(io::Error::other)?, peer))
            };
            match counted.await {
                Ok((open, peer)) => Ok((GuardedStream::new(stream, open), Extension(peer).layer(service))),
                Err(error) => {
                    // Not louder: whoever reaches the port can cause any number of these.
                    tracing::debug!(%error, "a connection was dropped");
                    Err(error)
                }
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use axum::Router;
    use axum::routing::get;
    use axum_server::tls_rustls::RustlsConfig;
    use clap::Parser;
    use ppp::v2::{Builder, Command, Protocol, Version};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::index::Freshness;
    use crate::metrics::Metrics;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        api: ApiArguments,
    }

    /// A server on 127.0.0.1, over plain HTTP or, where handshakes have a limit, over TLS.
    struct Server {
        address: SocketAddr,
        metrics: Metrics,
    }

    impl Server {
        async fn with(arguments: &[&str], handshake: Option<Duration>) -> Self {
            let Alone { api: arguments } = Alone::parse_from(["keyplane"].iter().chain(arguments));
            let metrics = Metrics::new(&Freshness::default());
            let connections = Connections::new(&arguments, metrics.connections.clone());
            let acceptor = connections.acceptor(PeerAcceptor::new(&arguments));
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let address = listener.local_addr().unwrap();
            let service = Router::new().route("/", get(async || "ok")).into_make_service();
            if let Some(limit) = handshake {
                let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
                let key = made.signing_key.serialize_pem();
                let tls = RustlsConfig::from_pem(made.cert.pem().into(), key.into()).await.unwrap();
                let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
                tokio::spawn(
                    server.map(|tls| tls.handshake_timeout(limit).acceptor(acceptor)).serve(service),
                );
            } else {
                tokio::spawn(axum_server::from_tcp(listener).unwrap().acceptor(acceptor).serve(service));
            }
            Self { address, metrics }
        }

        async fn connect(&self, from: &str) -> TcpStream {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
            socket.connect(self.address).await.unwrap()
        }

        /// Waits until the process counts so many connections.
        async fn until_open(&self, open: usize, refused: usize) {
            let counts = [
                format!("keyplane_connections {open}"),
                format!("keyplane_connections_refused_total {refused}"),
            ];
            let counted = async {
                loop {
                    let text = self.metrics.text().unwrap();
                    if counts.iter().all(|count| text.lines().any(|line| line == count)) {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            let within = tokio::time::timeout(Duration::from_secs(30), counted).await;
            assert!(within.is_ok(), "{counts:?}: {}", self.metrics.text().unwrap());
        }
    }

    /// Whether a request on the connection is answered; closed without a word otherwise.
    async fn is_served(stream: &mut TcpStream) -> bool {
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        if stream.write_all(request).await.is_err() {
            return false;
        }
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            if stream.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                return false;
            }
        }
        answer.starts_with(b"HTTP/1.1 200")
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_and_one_that_ends_makes_room() {
        let server = Server::with(&["--max-connections", "2"], None).await;
        let (mut one, mut two) = (server.connect("127.0.0.1").await, server.connect("127.0.0.2").await);
        assert!(is_served(&mut one).await && is_served(&mut two).await);
        let mut three = server.connect("127.0.0.3").await;
        assert!(!is_served(&mut three).await);
        server.until_open(2, 1).await;
        assert!(is_served(&mut one).await);
        drop(one);
        server.until_open(1, 1).await;
        assert!(is_served(&mut server.connect("127.0.0.3").await).await);
    }

    #[tokio::test]
    async fn an_address_has_a_limit_of_its_own_and_leaves_the_others_theirs() {
        let server = Server::with(&["--max-connections-per-address", "2"], None).await;
        let (mut one, mut two) = (server.connect("127.0.0.1").await, server.connect("127.0.0.1").await);
        assert!(is_served(&mut one).await && is_served(&mut two).await);
        assert!(!is_served(&mut server.connect("127.0.0.1").await).await);
        server.until_open(2, 1).await;
        assert!(is_served(&mut server.connect("127.0.0.2").await).await);
        drop(two);
        server.until_open(1, 1).await;
        assert!(is_served(&mut server.connect("127.0.0.1").await).await);
    }

    #[tokio::test]
    async fn a_trusted_proxy_connects_for_many() {
        let arguments = ["--max-connections-per-address", "1", "--trusted-proxy", "127.0.0.1"];
        let server = Server::with(&arguments, None).await;
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut stream = server.connect("127.0.0.1").await;
            assert!(is_served(&mut stream).await);
            open.push(stream);
        }
        server.until_open(3, 0).await;
    }

    #[tokio::test]
    async fn behind_a_proxy_of_connections_the_client_it_tells_of_counts() {
        let arguments =
            ["--max-connections-per-address", "1", "--trusted-proxy", "127.0.0.1", "--proxy-protocol"];
        let server = Server::with(&arguments, None).await;
        let mut open = Vec::new();
        for (source, expected) in [
            ("[2001:db8::1]:1", true),
            ("[2001:db8::2]:1", false),
            ("[2001:db8:0:1::1]:1", true),
            ("192.0.2.1:1", true),
            ("192.0.2.1:2", false),
        ] {
            let source: SocketAddr = source.parse().unwrap();
            let addresses = (source, source);
            let header = Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, addresses);
            let mut stream = server.connect("127.0.0.1").await;
            stream.write_all(&header.build().unwrap()).await.unwrap();
            assert_eq!(is_served(&mut stream).await, expected, "{source}");
            open.push(stream);
        }
        server.until_open(3, 2).await;
    }

    #[tokio::test]
    async fn over_tls_a_client_that_says_nothing_counts() {
        let server = Server::with(&["--max-connections", "1"], Some(Duration::from_mins(10))).await;
        let _silent = server.connect("127.0.0.1").await;
        server.until_open(1, 0).await;
        let mut late = server.connect("127.0.0.2").await;
        assert_eq!(late.read(&mut [0; 8]).await.unwrap_or(0), 0);
        server.until_open(1, 1).await;
    }

    #[tokio::test]
    async fn over_tls_a_client_that_says_nothing_is_not_waited_for() {
        let server = Server::with(&[], Some(Duration::from_millis(10))).await;
        let mut silent = server.connect("127.0.0.1").await;
        assert_eq!(silent.read(&mut [0; 8]).await.unwrap_or(0), 0);
        server.until_open(0, 0).await;
    }

    #[tokio::test]
    async fn a_connection_that_is_given_up_while_it_is_counted_leaves_nothing_behind() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let Alone { api: arguments } = Alone::parse_from(["keyplane"]);
        let connections = Connections::new(&arguments, ConnectionMetrics::default());
        for _ in 0..3 {
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = connections.acceptor(PeerAcceptor::new(&arguments));
            let (counted, _) = acceptor.accept(stream, ()).await.unwrap();
            assert_eq!(connections.0.open.load(Ordering::Relaxed), 1);
            assert_eq!(connections.0.by_address().len(), 1);
            drop((client, counted));
        }
        assert_eq!(connections.0.open.load(Ordering::Relaxed), 0);
        assert!(connections.0.by_address().is_empty());
    }
}
