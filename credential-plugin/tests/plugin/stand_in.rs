//! A server that plays the exchange: scripted answers over real TLS, and a record of what was asked.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The token that [`Reply::token`] gives.
pub(crate) const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.c3RhbmQtaW4.c2lnbmF0dXJl";

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Request line and headers, as they came.
    pub head: String,
    pub body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn problem(status: u16, detail: &str) -> Self {
        let body = serde_json::json!({"status": status, "code": "Some", "detail": detail});
        Self::new(status, body.to_string()).with("content-type", "application/problem+json")
    }

    /// A token that lives this long on a clock that is this far ahead of ours.
    pub(crate) fn token(life: TimeDelta, ahead: TimeDelta) -> Self {
        let theirs = now() + ahead;
        Self::new(200, credential(theirs + life)).with("date", theirs.to_rfc2822().replace("+0000", "GMT"))
    }

    /// A token as [`Reply::token`] gives it, without a `date` header.
    pub(crate) fn undated_token(life: TimeDelta) -> Self {
        Self::new(200, credential(now() + life))
    }
}

pub(crate) fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

fn credential(expires: DateTime<Utc>) -> String {
    serde_json::json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": TOKEN, "expirationTimestamp": expires.to_rfc3339_opts(SecondsFormat::Secs, true)},
    })
    .to_string()
}

/// The answer to the n-th request (from 1).
type Script = Arc<dyn Fn(usize) -> Reply + Send + Sync>;

pub(crate) struct StandIn {
    pub url: String,
    /// PEM of the CA that signed its certificate.
    pub ca: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    pub(crate) fn tls(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start("127.0.0.1", true, Arc::new(script))
    }

    /// With a certificate for another name than its address.
    pub(crate) fn tls_for(name: &str, script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(name, true, Arc::new(script))
    }

    pub(crate) fn plain(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start("127.0.0.1", false, Arc::new(script))
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn start(name: &str, tls: bool, script: Script) -> Self {
        let (ca, config) = certificate(name);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (asked, stop) = (Arc::clone(&asked), Arc::clone(&stop));
            move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let (asked, config, script) =
                        (Arc::clone(&asked), Arc::clone(&config), Arc::clone(&script));
                    thread::spawn(move || {
                        // A handshake that the plugin breaks off is part of the play.
                        let _ = if tls {
                            let connection = ServerConnection::new(config).unwrap();
                            serve(StreamOwned::new(connection, stream), &asked, &*script)
                        } else {
                            serve(stream, &asked, &*script)
                        };
                    });
                }
            }
        });
        let scheme = if tls { "https" } else { "http" };
        Self { url: format!("{scheme}://{address}"), ca, asked, address, stop, thread: Some(thread) }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Stand-ins made so far.
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn certificate(name: &str) -> (String, Arc<ServerConfig>) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    // A name of its own, so that a client finds no issuer in another stand-in's CA, rather than a bad signature.
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    ca.distinguished_name.push(DnType::CommonName, format!("stand-in {count}"));
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (ca.pem(), Arc::new(config))
}

fn serve(
    stream: impl Read + Write,
    asked: &Mutex<Vec<Asked>>,
    script: &dyn Fn(usize) -> Reply,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match stream.read_line(&mut head) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            // As a server without TLS answers a handshake.
            Err(_) => return stream.get_mut().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        }
    }
    let mut request = Asked { head, body: String::new() };
    let length = request.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    request.body = String::from_utf8(body).unwrap();
    let count = {
        let mut asked = asked.lock().unwrap();
        asked.push(request);
        asked.len()
    };
    let reply = script(count);
    let mut head = format!(
        "HTTP/1.1 {} Status\r\ncontent-length: {}\r\nconnection: close\r\n",
        reply.status,
        reply.body.len()
    );
    for (name, value) in &reply.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    let stream = stream.get_mut();
    stream.write_all(head.as_bytes())?;
    stream.write_all(&reply.body)?;
    stream.flush()
}
