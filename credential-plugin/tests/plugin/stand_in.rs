//! A server that plays the exchange: scripted answers over real TLS, and a record of what was asked.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chrono::{DateTime, Datelike as _, SecondsFormat, TimeDelta, Utc};
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
    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

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
        Self::coded(status, "some", detail)
    }

    /// A problem with this code.
    pub(crate) fn coded(status: u16, code: &str, detail: &str) -> Self {
        let body = serde_json::json!({"status": status, "code": code, "detail": detail});
        Self::new(status, body.to_string()).with("content-type", "application/problem+json")
    }

    /// A token that lives this long on a clock that is this far ahead of ours.
    pub(crate) fn token(life: TimeDelta, ahead: TimeDelta) -> Self {
        let theirs = now() + ahead;
        Self::new(200, credential(theirs + life)).with("date", http_date(theirs))
    }

    /// A token as [`Reply::token`] gives it, without a `date` header.
    pub(crate) fn undated_token(life: TimeDelta) -> Self {
        Self::new(200, credential(now() + life))
    }
}

pub(crate) fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

/// A time as HTTP writes it.
pub(crate) fn http_date(at: DateTime<Utc>) -> String {
    httpdate::fmt_http_date(at.into())
}

fn credential(expires: DateTime<Utc>) -> String {
    serde_json::json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": TOKEN, "expirationTimestamp": expires.to_rfc3339_opts(SecondsFormat::Secs, true)},
    })
    .to_string()
}

/// The answer to the n-th request (from 1), which is this one.
pub(crate) type Script = Arc<dyn Fn(usize, &Asked) -> Reply + Send + Sync>;

/// What is done with a connection, under TLS or not.
type Handler = Arc<dyn Fn(&mut dyn Stream) -> io::Result<()> + Send + Sync>;

pub(crate) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// The certificate and the address of a stand-in.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The name in the certificate.
    pub name: String,
    /// The days in whose beginnings the certificate becomes and ceases to be valid.
    pub valid: (DateTime<Utc>, DateTime<Utc>),
    /// The address to listen at.
    pub address: &'static str,
    pub tls: bool,
    /// Whether its certificate is one of a CA.
    pub is_ca: bool,
    /// How long a reading may wait before it fails as [`is_silence`] knows it.
    pub patience: Option<Duration>,
}

impl Default for Identity {
    fn default() -> Self {
        let valid = (now() - TimeDelta::days(2), now() + TimeDelta::days(2));
        Self {
            name: "127.0.0.1".to_owned(),
            valid,
            address: "127.0.0.1:0",
            tls: true,
            is_ca: false,
            patience: None,
        }
    }
}

pub(crate) struct StandIn {
    pub url: String,
    /// PEM of the CA that signed its certificate.
    pub ca: String,
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    pub(crate) fn tls(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::of(&Identity::default(), script)
    }

    /// With a certificate for another name than its address.
    pub(crate) fn tls_for(name: &str, script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::of(&Identity { name: name.to_owned(), ..Identity::default() }, script)
    }

    pub(crate) fn plain(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::of(&Identity { tls: false, ..Identity::default() }, script)
    }

    pub(crate) fn of(identity: &Identity, script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::scripted(identity, Arc::new(move |count, _| script(count)))
    }

    /// With an answer for each path.
    pub(crate) fn tls_by_path(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::scripted(&Identity::default(), Arc::new(move |_, asked| script(asked.path())))
    }

    /// With an answer for each request, and for how many came before it.
    pub(crate) fn scripted(identity: &Identity, script: Script) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut this = Self::handled(identity, {
            let asked = Arc::clone(&asked);
            move |stream| serve(stream, &asked, &script)
        });
        this.asked = asked;
        this
    }

    /// One that does whatever it likes with a connection.
    pub(crate) fn handled(
        identity: &Identity,
        handler: impl Fn(&mut dyn Stream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let handler: Handler = Arc::new(handler);
        let (ca, config) = certificate(identity);
        let listener = TcpListener::bind(identity.address).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (tls, patience) = (identity.tls, identity.patience);
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while let Ok((mut stream, _)) = listener.accept() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    stream.set_read_timeout(patience).unwrap();
                    let (config, handler) = (Arc::clone(&config), Arc::clone(&handler));
                    thread::spawn(move || {
                        // A handshake that the plugin breaks off is part of the play.
                        let _ = if tls {
                            let connection = ServerConnection::new(config).unwrap();
                            handler(&mut StreamOwned::new(connection, stream))
                        } else {
                            handler(&mut stream)
                        };
                    });
                }
            }
        });
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        Self { url, ca, address, asked: Arc::default(), stop, thread: Some(thread) }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
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

fn certificate(identity: &Identity) -> (String, Arc<ServerConfig>) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    // A name of its own, so that a client finds no issuer in another stand-in's CA, rather than a bad signature.
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    ca.distinguished_name.push(DnType::CommonName, format!("stand-in {count}"));
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut certificate = CertificateParams::new(vec![identity.name.clone()]).unwrap();
    let day = |at: DateTime<Utc>| {
        rcgen::date_time_ymd(at.year(), u8::try_from(at.month()).unwrap(), u8::try_from(at.day()).unwrap())
    };
    (certificate.not_before, certificate.not_after) = (day(identity.valid.0), day(identity.valid.1));
    if identity.is_ca {
        certificate.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let certificate = certificate.signed_by(&key, &ca).unwrap();
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

/// Whether a reading ended because nothing came, as Unix or Windows says it.
pub(crate) fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Reads the head of a request.
pub(crate) fn read_head(stream: &mut impl io::BufRead) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match stream.read_line(&mut head) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if !is_silence(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(head)
}

/// Reads a request, takes it down, and answers it by the script.
pub(crate) fn serve(stream: &mut dyn Stream, asked: &Mutex<Vec<Asked>>, script: &Script) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let head = match read_head(&mut stream) {
        Ok(head) => head,
        // As a server without TLS answers a handshake.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return stream.get_mut().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
        Err(error) => return Err(error),
    };
    let mut request = Asked { head, body: String::new() };
    let length = request.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    request.body = String::from_utf8(body).unwrap();
    let count = {
        let mut asked = asked.lock().unwrap();
        asked.push(request.clone());
        asked.len()
    };
    let reply = script(count, &request);
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
