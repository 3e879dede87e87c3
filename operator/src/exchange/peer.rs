//! Puts the client's address into each request, from the connection's other end and the header that trusted proxies
//! write.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use ipnet::IpNet;
use keyplane_core::client_address::{ClientAddress, ForwardedHeader, UnreadableForwarded, client_address};
use keyplane_core::ip_network::any_holds;

use super::proxy_protocol::Peer;
use crate::runtime::{ApiArguments, ForwardedHeaderName};

/// The address of the request's client, an extension of every request; or why it is unknown. A key that has a list
/// of addresses is refused from an unknown one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestAddress(pub(crate) Result<ClientAddress, UnreadableForwarded>);

/// Whose word about a client's address is taken, and in which header.
#[derive(Clone, Debug)]
pub(crate) struct Forwarding {
    trusted: Arc<[IpNet]>,
    header: ForwardedHeader,
}

impl Forwarding {
    /// As the arguments ask for.
    pub(super) fn new(arguments: &ApiArguments) -> Self {
        let header = match arguments.forwarded_header {
            ForwardedHeaderName::XForwardedFor => ForwardedHeader::XForwardedFor,
            ForwardedHeaderName::Forwarded => ForwardedHeader::Forwarded,
        };
        Self { trusted: arguments.trusted_proxy.clone().into(), header }
    }

    /// Whether an address is a trusted proxy's.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        any_holds(&self.trusted, address)
    }

    /// The name of the header in which trusted proxies name their client.
    pub(crate) fn header_name(&self) -> &'static str {
        self.header.name()
    }

    /// The client of a request with these headers, who is at the other end or behind it.
    ///
    /// # Errors
    /// When a trusted proxy does not tell.
    pub(crate) fn client(
        &self,
        peer: ClientAddress,
        headers: &HeaderMap,
    ) -> Result<ClientAddress, UnreadableForwarded> {
        let lines = headers.get_all(self.header.name()).iter();
        // What is not text is unreadable only where it stands, lest a client spoil what a proxy adds to its line.
        let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
        client_address(peer, &self.trusted, self.header, &lines)
    }
}

/// Middleware: adds the [`RequestAddress`].
pub(super) async fn learn(
    State(forwarding): State<Forwarding>,
    Extension(Peer(peer)): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = forwarding.client(peer, request.headers());
    request.extensions_mut().insert(RequestAddress(address));
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use axum::routing::get;
    use axum::{Router, middleware};
    use axum_server::tls_rustls::RustlsConfig;
    use clap::Parser;
    use ppp::v2::{Builder, Command, Protocol, Version};
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::*;
    use crate::exchange::proxy_protocol::PeerAcceptor;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        api: ApiArguments,
    }

    /// Tells the client which address it has.
    async fn tell(Extension(RequestAddress(address)): Extension<RequestAddress>) -> String {
        match address {
            Ok(client) => format!("{} {}", client.ip, client.source.as_str()),
            Err(error) => error.to_string(),
        }
    }

    /// A server on 127.0.0.1, over TLS, with these arguments.
    struct Server {
        address: SocketAddr,
        client: Arc<ClientConfig>,
    }

    impl Server {
        async fn with(arguments: &[&str]) -> Self {
            let Alone { api: arguments } = Alone::parse_from(["keyplane"].iter().chain(arguments));
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            let key = made.signing_key.serialize_pem();
            let tls = RustlsConfig::from_pem(made.cert.pem().into(), key.into()).await.unwrap();
            let mut roots = RootCertStore::empty();
            roots.add(made.cert.der().clone()).unwrap();
            let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();

            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let address = listener.local_addr().unwrap();
            let router = Router::new()
                .route("/", get(tell))
                .layer(middleware::from_fn_with_state(Forwarding::new(&arguments), learn));
            let server = axum_server::from_tcp_rustls(listener, tls)
                .unwrap()
                .map(|tls| tls.acceptor(PeerAcceptor::new(&arguments)));
            tokio::spawn(server.serve(router.into_make_service()));
            Self { address, client: Arc::new(client) }
        }

        /// What the server answers, when `first` is sent ahead of TLS and the headers with the request.
        async fn answer(&self, first: &[u8], headers: &[u8]) -> std::io::Result<String> {
            let (address, client) = (self.address, self.client.clone());
            let first = first.to_vec();
            let request = [b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n", headers, b"\r\n"];
            let request = request.concat();
            let asking = move || {
                let mut stream = TcpStream::connect(address)?;
                stream.write_all(&first)?;
                let name = ServerName::try_from("localhost").unwrap();
                let mut tls = StreamOwned::new(ClientConnection::new(client, name).unwrap(), stream);
                tls.write_all(&request)?;
                let mut answer = String::new();
                tls.read_to_string(&mut answer)?;
                Ok(answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_owned()))
            };
            tokio::task::spawn_blocking(asking).await.unwrap()
        }
    }

    fn proxied(source: &str) -> Vec<u8> {
        let source: SocketAddr = source.parse().unwrap();
        // The destination says nothing; it has to be of the same family.
        let addresses = (source, source);
        Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, addresses).build().unwrap()
    }

    #[tokio::test]
    async fn without_trusted_proxies_the_client_is_who_connects() {
        let server = Server::with(&[]).await;
        let answer = server.answer(b"", b"x-forwarded-for: 192.0.2.1\r\nforwarded: for=192.0.2.2\r\n");
        assert_eq!(answer.await.unwrap(), "127.0.0.1 connection");
    }

    #[tokio::test]
    async fn the_chosen_header_of_a_trusted_proxy_is_believed_and_the_other_is_not() {
        let both = b"x-forwarded-for: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1, 127.0.0.7\r\nforwarded: for=192.0.2.2\r\n";
        for (header, expected) in
            [("x-forwarded-for", "192.0.2.1 x-forwarded-for"), ("forwarded", "192.0.2.2 forwarded")]
        {
            let server =
                Server::with(&["--trusted-proxy", "127.0.0.0/8", "--forwarded-header", header]).await;
            assert_eq!(server.answer(b"", both).await.unwrap(), expected);
            assert_eq!(server.answer(b"", b"").await.unwrap(), "127.0.0.1 connection");
        }
    }

    #[tokio::test]
    async fn what_a_client_sends_ahead_that_is_not_even_text_does_not_spoil_what_its_proxy_adds() {
        let server = Server::with(&["--trusted-proxy", "127.0.0.1"]).await;
        let answer = server.answer(b"", b"x-forwarded-for: \xff\xfe, 192.0.2.1\r\n").await.unwrap();
        assert_eq!(answer, "192.0.2.1 x-forwarded-for");
        let answer = server.answer(b"", b"x-forwarded-for: 192.0.2.1, \xff\xfe\r\n").await.unwrap();
        assert!(answer.contains("names no address"), "{answer}");
    }

    #[tokio::test]
    async fn the_proxy_protocols_source_reaches_the_handler_through_tls() {
        let server = Server::with(&["--trusted-proxy", "127.0.0.0/8", "--proxy-protocol"]).await;
        let headers = b"x-forwarded-for: 6.6.6.6\r\n";
        for (source, expected) in [("192.0.2.1:4711", "192.0.2.1"), ("[2001:db8::1]:4711", "2001:db8::1")] {
            let answer = server.answer(&proxied(source), headers).await.unwrap();
            assert_eq!(answer, format!("{expected} proxy-protocol"));
        }
        // Behind a proxy of TLS stands a trusted one of HTTP.
        let answer = server.answer(&proxied("127.0.0.9:1"), b"x-forwarded-for: 192.0.2.3\r\n").await.unwrap();
        assert_eq!(answer, "192.0.2.3 x-forwarded-for");
    }

    #[tokio::test]
    async fn with_the_proxy_protocol_neither_a_missing_header_nor_a_stranger_gets_an_answer() {
        let server = Server::with(&["--trusted-proxy", "127.0.0.0/8", "--proxy-protocol"]).await;
        server.answer(b"", b"").await.unwrap_err();
        server.answer(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"").await.unwrap_err();
        let server = Server::with(&["--trusted-proxy", "192.0.2.0/24", "--proxy-protocol"]).await;
        server.answer(&proxied("192.0.2.1:4711"), b"").await.unwrap_err();
    }
}
