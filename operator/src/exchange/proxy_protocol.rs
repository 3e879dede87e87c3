//! Who is at the other end of a connection: its own address, or the one that the PROXY protocol, version 2, tells.
//!
//! A proxy that passes TLS through cannot write an HTTP header; it writes the client's address before the TLS
//! handshake instead (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>). Whoever may connect may say
//! anything there, so that only trusted proxies may connect, and everybody must say it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use futures::FutureExt;
use futures::future::BoxFuture;
use ipnet::IpNet;
use keyplane_core::client_address::{AddressSource, ClientAddress};
use keyplane_core::ip_network;
use ppp::v2::{Addresses, Command, Header, PROTOCOL_PREFIX, ParseError, Protocol};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tower::Layer;

use crate::runtime::ApiArguments;

/// How long a proxy may take to send the header. It has it before it connects.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// How many bytes a header has at least: the signature, what it is, and how many bytes follow.
const FIXED_LENGTH: usize = 16;
/// How many bytes a header may have: the longest addresses and some 300 bytes of what proxies add to them. The
/// protocol's own recommendation is that 536 bytes, one segment, are enough for all.
const MAX_LENGTH: usize = 536;

/// The other end of a connection, which every request on it carries as an extension. Not yet the client's address:
/// a trusted proxy may tell of another in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) ClientAddress);

/// Learns who is at the other end of each connection before TLS begins.
#[derive(Clone, Debug)]
pub(super) struct PeerAcceptor {
    /// Who may connect and must send the header first; `None` without the PROXY protocol.
    proxies: Option<Arc<[IpNet]>>,
    limit: Duration,
}

/// Why a connection is dropped.
#[derive(Debug, Error)]
pub(super) enum Unusable {
    #[error("{0} is not in --trusted-proxy: with --proxy-protocol only trusted proxies may connect")]
    Stranger(IpAddr),
    #[error("no whole header of the PROXY protocol within {} s", .0.as_secs())]
    Late(Duration),
    #[error("a header of {0} bytes is longer than {MAX_LENGTH}")]
    Long(usize),
    #[error("not a header of the PROXY protocol, version 2: {0}")]
    Malformed(#[from] ParseError),
    #[error("the header tells of no client that uses TCP over IPv4 or IPv6")]
    NoAddress,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl PeerAcceptor {
    /// As the arguments ask for.
    pub(super) fn new(arguments: &ApiArguments) -> Self {
        let proxies = arguments.proxy_protocol.then(|| arguments.trusted_proxy.clone().into());
        Self { proxies, limit: HEADER_LIMIT }
    }

    /// Without the PROXY protocol, whatever the arguments say of the public port.
    pub(super) fn direct() -> Self {
        Self { proxies: None, limit: HEADER_LIMIT }
    }

    /// Who is at the other end of a connection that begins.
    ///
    /// # Errors
    /// When it is not a trusted proxy that must be one, or does not say whose the connection is.
    pub(super) async fn peer(&self, stream: &mut TcpStream) -> Result<Peer, Unusable> {
        let connected = ClientAddress::new(stream.peer_addr()?.ip(), AddressSource::Connection);
        let Some(proxies) = &self.proxies else { return Ok(Peer(connected)) };
        if !ip_network::any_holds(proxies, connected.ip) {
            return Err(Unusable::Stranger(connected.ip));
        }
        let told = tokio::time::timeout(self.limit, read_source(stream));
        let told = told.await.map_err(|_| Unusable::Late(self.limit))??;
        Ok(Peer(told.map_or(connected, |ip| ClientAddress::new(ip, AddressSource::ProxyProtocol))))
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for PeerAcceptor {
    type Stream = TcpStream;
    type Service = AddExtension<S, Peer>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, mut stream: TcpStream, service: S) -> Self::Future {
        let acceptor = self.clone();
        async move {
            match acceptor.peer(&mut stream).await {
                Ok(peer) => Ok((stream, Extension(peer).layer(service))),
                Err(error) => {
                    // Not louder: whoever reaches the port can cause any number of these.
                    tracing::debug!(%error, "a connection was dropped");
                    Err(io::Error::other(error))
                }
            }
        }
        .boxed()
    }
}

/// Reads the header and not a byte more: what follows belongs to TLS. `None` when the proxy connected on its own
/// behalf, such as to probe.
async fn read_source(stream: &mut TcpStream) -> Result<Option<IpAddr>, Unusable> {
    let mut header = vec![0; FIXED_LENGTH];
    stream.read_exact(&mut header).await?;
    // Before its length is believed.
    if !header.starts_with(PROTOCOL_PREFIX) {
        return Err(ParseError::Prefix.into());
    }
    let following = header.last_chunk().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
    let length = FIXED_LENGTH.saturating_add(following);
    if length > MAX_LENGTH {
        return Err(Unusable::Long(length));
    }
    header.resize(length, 0);
    stream.read_exact(header.get_mut(FIXED_LENGTH..).unwrap_or_default()).await?;
    source(&header)
}

/// The client's address in a whole header.
fn source(header: &[u8]) -> Result<Option<IpAddr>, Unusable> {
    let header = Header::try_from(header)?;
    if header.command == Command::Local {
        return Ok(None);
    }
    // A client without an address is not the proxy itself: were it taken for that, its headers would be believed.
    match (header.protocol, header.addresses) {
        (Protocol::Stream, Addresses::IPv4(addresses)) => Ok(Some(addresses.source_address.into())),
        (Protocol::Stream, Addresses::IPv6(addresses)) => Ok(Some(addresses.source_address.into())),
        _ => Err(Unusable::NoAddress),
    }
}

#[cfg(test)]
mod tests {
    use ppp::v2::{Builder, Type, Unix, Version};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// What comes after the header, and must be left for TLS.
    const FOLLOWING: &[u8] = b"\x16\x03\x01 a hello";

    fn expecting_it_from(proxies: &[&str]) -> PeerAcceptor {
        let proxies = proxies.iter().map(|network| network.parse().unwrap()).collect();
        PeerAcceptor { proxies: Some(proxies), limit: HEADER_LIMIT }
    }

    fn header(command: Command, protocol: Protocol, addresses: impl Into<Addresses>) -> Builder {
        Builder::with_addresses(Version::Two | command, protocol, addresses)
    }

    fn tcp(source: &str, destination: &str) -> Addresses {
        (source.parse().unwrap(), destination.parse().unwrap()).into()
    }

    fn proxied(source: &str, destination: &str) -> Vec<u8> {
        header(Command::Proxy, Protocol::Stream, tcp(source, destination)).build().unwrap()
    }

    /// What the acceptor makes of a connection from 127.0.0.1 on which this is sent, and what it leaves unread.
    async fn received(acceptor: &PeerAcceptor, sent: &[u8]) -> (Result<Peer, Unusable>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut proxy = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        proxy.set_nodelay(true).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let sending = async {
            for byte in sent {
                proxy.write_u8(*byte).await.unwrap();
            }
            proxy.shutdown().await.unwrap();
        };
        let ((), peer) = tokio::join!(sending, acceptor.peer(&mut stream));
        let mut left = Vec::new();
        stream.read_to_end(&mut left).await.unwrap();
        (peer, left)
    }

    fn told(ip: &str) -> Peer {
        Peer(ClientAddress { ip: ip.parse().unwrap(), source: AddressSource::ProxyProtocol })
    }

    fn connected() -> Peer {
        Peer(ClientAddress { ip: "127.0.0.1".parse().unwrap(), source: AddressSource::Connection })
    }

    #[tokio::test]
    async fn the_headers_source_is_the_peer_and_not_a_byte_after_the_header_is_read() {
        let acceptor = expecting_it_from(&["127.0.0.0/8"]);
        let with_more = header(Command::Proxy, Protocol::Stream, tcp("192.0.2.1:4711", "192.0.2.2:443"));
        let with_more = with_more.write_tlv(Type::Authority, b"keyplane.example").unwrap().build().unwrap();
        for (header, ip) in [
            (proxied("192.0.2.1:4711", "192.0.2.2:443"), "192.0.2.1"),
            (proxied("[2001:db8::1]:4711", "[2001:db8::2]:443"), "2001:db8::1"),
            (proxied("[::ffff:192.0.2.1]:4711", "[::ffff:192.0.2.2]:443"), "192.0.2.1"),
            (with_more, "192.0.2.1"),
        ] {
            let (peer, left) = received(&acceptor, &[&header, FOLLOWING].concat()).await;
            assert_eq!((peer.unwrap(), left.as_slice()), (told(ip), FOLLOWING));
        }
    }

    #[tokio::test]
    async fn a_proxy_that_connects_on_its_own_behalf_is_itself_the_peer() {
        let probe = Builder::new(Version::Two | Command::Local, 0).build().unwrap();
        let with_addresses = header(Command::Local, Protocol::Stream, tcp("192.0.2.1:1", "192.0.2.2:2"));
        for header in [probe, with_addresses.build().unwrap()] {
            let acceptor = expecting_it_from(&["127.0.0.1/32"]);
            let (peer, left) = received(&acceptor, &[&header, FOLLOWING].concat()).await;
            assert_eq!((peer.unwrap(), left.as_slice()), (connected(), FOLLOWING));
        }
    }

    #[tokio::test]
    async fn who_is_not_a_trusted_proxy_may_not_connect_whatever_it_says() {
        for proxies in [&["10.0.0.0/8", "::/0"][..], &[]] {
            let (peer, _) =
                received(&expecting_it_from(proxies), &proxied("192.0.2.1:1", "192.0.2.2:2")).await;
            assert!(matches!(peer, Err(Unusable::Stranger(_))), "{peer:?}");
        }
    }

    #[tokio::test]
    async fn what_is_not_a_header_or_names_no_client_is_refused() {
        let acceptor = expecting_it_from(&["127.0.0.0/8"]);
        let good = proxied("192.0.2.1:4711", "192.0.2.2:443");
        let socket = Unix::new([b'a'; 108], [b'b'; 108]);
        let mut long = good.clone();
        long[14..16].copy_from_slice(&521_u16.to_be_bytes());
        long.resize(FIXED_LENGTH + 521, 0);
        let mut short_of_addresses = good.clone();
        short_of_addresses[14..16].copy_from_slice(&11_u16.to_be_bytes());
        let built = |header: Builder| header.build().unwrap();
        for (sent, expected) in [
            (Vec::new(), "early eof"),
            (good[..good.len() - 1].to_vec(), "early eof"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n".to_vec(), "start with a prefix"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a hello".to_vec(), "start with a prefix"),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "start with a prefix"),
            (long, "longer than 536"),
            (short_of_addresses, "cannot store"),
            (built(header(Command::Proxy, Protocol::Stream, socket)), "no client"),
            (built(header(Command::Proxy, Protocol::Unspecified, Addresses::Unspecified)), "no client"),
            (
                built(header(Command::Proxy, Protocol::Datagram, tcp("192.0.2.1:1", "192.0.2.2:2"))),
                "no client",
            ),
        ] {
            let (peer, _) = received(&acceptor, &sent).await;
            let error = peer.unwrap_err().to_string();
            assert!(error.contains(expected), "{sent:?}: {error}");
        }
    }

    #[tokio::test]
    async fn a_header_that_does_not_come_is_not_waited_for() {
        let proxies = Some(["127.0.0.0/8".parse().unwrap()].into());
        let acceptor = PeerAcceptor { proxies, limit: Duration::from_millis(20) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut proxy = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        proxy.write_all(&proxied("192.0.2.1:4711", "192.0.2.2:443")[..20]).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(acceptor.accept(stream, ()).await.is_err());
        // Nor is the connection kept.
        let closed = proxy.read(&mut [0; 1]).await;
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    }

    #[tokio::test]
    async fn without_the_protocol_nothing_is_read_and_nothing_in_it_believed() {
        let acceptor = PeerAcceptor { proxies: None, limit: HEADER_LIMIT };
        let sent = proxied("192.0.2.1:4711", "192.0.2.2:443");
        let (peer, left) = received(&acceptor, &sent).await;
        assert_eq!((peer.unwrap(), left), (connected(), sent));
    }

    #[test]
    fn every_command_family_and_length_is_answered() {
        for (what, family) in (0..=u8::MAX).flat_map(|what| (0..=u8::MAX).map(move |family| (what, family))) {
            for length in [0_u8, 11, 12, 35, 36, 215, 216, 220] {
                let fixed = [PROTOCOL_PREFIX, &[what, family, 0, length]].concat();
                let header = [fixed, vec![1; length.into()]].concat();
                let is_proxied = what == 0x21 && matches!((family, length), (0x11, 12..) | (0x21, 36..));
                assert_eq!(
                    matches!(source(&header), Ok(Some(_))),
                    is_proxied,
                    "{what:x} {family:x} {length}"
                );
            }
        }
    }
}
