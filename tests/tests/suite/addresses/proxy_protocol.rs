//! The PROXY protocol, version 2: bytes ahead of TLS that tell the client's address.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use keyplane_tests::exchange::{Answer, PATH, first_certificate};
use keyplane_tests::keyplane_process::Keyplane;
use keyplane_tests::plaintext_registry;
use keyplane_tests::tenant::HeldKey;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{PATIENT, ensure_answered, last_line, tenant};
use crate::replicas::replica;

/// How every header begins (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>, section 2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The header for a client with this address, written by hand from the specification.
fn header(command: u8, client: &str) -> Result<Vec<u8>> {
    let (family, address) = match client.parse()? {
        IpAddr::V4(address) => (TCP4, address.octets().to_vec()),
        IpAddr::V6(address) => (TCP6, address.octets().to_vec()),
    };
    let ports = [0x12, 0x34, 0x01, 0xbb];
    // The destination is the source once more: nobody asks for it.
    let addresses = [&address[..], &address, &ports].concat();
    let length = u16::try_from(addresses.len())?.to_be_bytes();
    Ok([&SIGNATURE[..], &[command, family], &length, &addresses].concat())
}

/// Presents a key with these bytes ahead of TLS. `None` when the connection is closed without an answer.
async fn ask(replica: &Keyplane, key: &HeldKey, first: &[u8], further: &str) -> Result<Option<Answer>> {
    let address: SocketAddr = replica.url().trim_start_matches("https://").parse()?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(first_certificate(&std::fs::read(replica.ca_file())?)?))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), ServerName::IpAddress(address.ip().into()))?;
    let first = first.to_vec();
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: 0\r\nx-api-key: {}\r\n\
         {further}\r\n",
        key.plaintext()?
    );
    let received = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(&first)?;
        let mut tls = StreamOwned::new(connection, stream);
        tls.write_all(request.as_bytes())?;
        let mut text = String::new();
        tls.read_to_string(&mut text)?;
        std::io::Result::Ok(text)
    })
    .await?;
    match received {
        Ok(text) => answer(&text).map(Some),
        // That nothing came for half a minute is not that the connection was closed.
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => bail!("neither answered nor closed"),
        Err(_) => Ok(None),
    }
}

/// An answer of HTTP/1.1, as far as these tests look at it.
fn answer(text: &str) -> Result<Answer> {
    let (head, body) = text.split_once("\r\n\r\n").context("an answer has a head")?;
    let status = head.split(' ').nth(1).context("a status")?.parse()?;
    let named = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
    };
    let content_type = head.lines().find_map(named).unwrap_or_default();
    let answer = Answer { status, retry_after: None, content_type, text: body.to_owned() };
    if let Some(token) = answer.token() {
        plaintext_registry::token(&token)?;
    }
    Ok(answer)
}

#[tokio::test]
async fn the_address_that_the_proxy_protocol_tells_counts() -> Result<()> {
    let own = tenant("proxy-v2").await?;
    let arguments = ["--proxy-protocol", "--trusted-proxy", "127.0.0.0/8"];
    let replica = replica("proxy-v2", &[&PATIENT[..], &arguments].concat()).await?;
    let key = own.key_from("listed", "web", &["203.0.113.0/24", "2001:db8::/32"]).await?;
    let allowed = header(PROXY, "203.0.113.9")?;
    until("the replica to know the key", PATIENCE, || async {
        let answer = ask(&replica, &key, &allowed, "").await?;
        let is_there = answer.as_ref().is_some_and(|answer| answer.status == 200);
        Ok(if is_there { Seen::Done(()) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await?;
    let uid = own.stored_key("listed").await?.uid().context("a UID")?;
    let line = last_line(&replica, &uid, "K1020I")?;
    ensure!(line["data"]["address"] == "203.0.113.9", "{line}");
    ensure!(line["data"]["addressSource"] == "proxy-protocol", "{line}");

    for (what, first, further, is_allowed) in [
        ("an IPv6 client", header(PROXY, "2001:db8::9")?, "", true),
        ("an IPv4 client as IPv6", header(PROXY, "::ffff:203.0.113.9")?, "", true),
        ("another client", header(PROXY, "198.51.100.1")?, "", false),
        (
            "a client that says so itself",
            header(PROXY, "198.51.100.1")?,
            "x-forwarded-for: 203.0.113.9\r\n",
            false,
        ),
        ("a client that says otherwise", allowed.clone(), "x-forwarded-for: 198.51.100.1\r\n", true),
        ("a trusted proxy before it", header(PROXY, "127.0.0.9")?, "x-forwarded-for: 203.0.113.9\r\n", true),
        ("the proxy itself", header(LOCAL, "203.0.113.9")?, "", false),
    ] {
        let answer =
            ask(&replica, &key, &first, further).await?.with_context(|| format!("{what}: closed"))?;
        ensure_answered(what, &answer, is_allowed)?;
    }
    let too_long = [&SIGNATURE[..], &[PROXY, TCP4, 0xff, 0xff]].concat();
    for (what, first) in [
        ("no header", Vec::new()),
        ("version 1", b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\n".to_vec()),
        ("a family that has no address", [&SIGNATURE[..], &[PROXY, 0, 0, 0]].concat()),
        ("a header without end", too_long),
    ] {
        let answer = ask(&replica, &key, &first, "").await?;
        ensure!(answer.is_none(), "{what}: {answer:?}");
    }
    ensure!(
        ask(&replica, &key, &allowed, "").await?.is_some_and(|answer| answer.status == 200),
        "it goes on"
    );
    Ok(())
}

#[tokio::test]
async fn with_the_proxy_protocol_nobody_but_a_trusted_proxy_may_connect() -> Result<()> {
    let own = tenant("proxy-foreign").await?;
    let replica = replica("proxy-foreign", &["--proxy-protocol", "--trusted-proxy", "192.0.2.0/24"]).await?;
    let key = own.key_from("everywhere", "web", &[]).await?;
    for first in [header(PROXY, "203.0.113.9")?, header(LOCAL, "203.0.113.9")?, Vec::new()] {
        let answer = ask(&replica, &key, &first, "").await?;
        ensure!(answer.is_none(), "{answer:?}");
    }
    Ok(())
}
