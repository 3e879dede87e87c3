//! The way to the exchange in steps: its name, a proxy, the connection, the TLS handshake. What fails says at which step.
//!
//! ureq leads through the steps; its own would miss three things: a name for TLS other than the URL's, several addresses
//! tried at once (RFC 8305), and an end to a proxy that answers byte by byte.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    RustlsConnector, SocksConnector, Transport,
};
use ureq::{Error, Timeout};

use crate::exchange::connection_race::{first_to_connect, in_turns};

/// A step on the way to the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Finding the addresses of a name.
    Name,
    /// Whatever the proxy does, its own name, connection and handshake included.
    Proxy,
    /// Connecting to an address.
    Connection,
    /// The TLS handshake.
    Handshake,
}

/// A step that failed, and how.
#[derive(Debug)]
pub struct StepFailed {
    /// Which.
    pub step: Step,
    /// With what. Of a proxy it may be a failed step in turn.
    pub error: Error,
}

impl fmt::Display for StepFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.step, self.error)
    }
}

impl std::error::Error for StepFailed {}

impl StepFailed {
    /// The failed step that an error tells of.
    #[must_use]
    pub fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::Other(failed) => failed.downcast_ref(),
            _ => None,
        }
    }
}

fn failed(step: Step) -> impl FnOnce(Error) -> Error {
    move |error| Error::Other(Box::new(StepFailed { step, error }))
}

/// The names' step.
#[derive(Debug, Default)]
pub struct Names(DefaultResolver);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        self.0.resolve(uri, config, timeout).map_err(failed(Step::Name))
    }
}

/// All steps but the names', with everything done by `until`.
#[must_use]
pub fn steps(until: Instant, tls: Tls) -> impl Connector {
    ().chain(ThroughProxy(SocksConnector::default()))
        .chain(ThroughProxy(ConnectProxyConnector::default()))
        .chain(Connect { until })
        .chain(tls)
}

/// The proxy's step.
#[derive(Debug)]
struct ThroughProxy<C>(C);

impl<In: Transport, C: Connector<In>> Connector<In> for ThroughProxy<C> {
    type Out = C::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        self.0.connect(details, chained).map_err(failed(Step::Proxy))
    }
}

/// The connection's step.
#[derive(Debug)]
struct Connect {
    until: Instant,
}

impl<In: Transport> Connector<In> for Connect {
    type Out = Either<In, Socket>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(proxied) = chained {
            return Ok(Some(Either::A(proxied)));
        }
        let left = self.until.saturating_duration_since(Instant::now()).min(*details.timeout.after);
        let stream = first_to_connect(&in_turns(&details.addrs), left, TcpStream::connect_timeout)
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Error::Timeout(Timeout::Connect),
                _ => Error::Io(error),
            })
            .map_err(failed(Step::Connection))?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(Socket { stream, buffers, until: self.until })))
    }
}

/// A connection that ends in time, whatever is done on it: ureq counts a proxy's time anew with each byte.
struct Socket {
    stream: TcpStream,
    buffers: LazyBuffers,
    until: Instant,
}

impl Socket {
    /// What is left for the next reading or writing.
    fn left(&self, timeout: NextTimeout) -> Result<Duration, Error> {
        let left = self.until.saturating_duration_since(Instant::now()).min(*timeout.after);
        if left.is_zero() { Err(Error::Timeout(timeout.reason)) } else { Ok(left) }
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let started = Instant::now();
        let mut written = 0;
        while written < amount {
            let mut timeout = timeout;
            timeout.after = timeout.after.saturating_sub(started.elapsed()).into();
            let left = self.left(timeout)?;
            self.stream.set_write_timeout(Some(left))?;
            let output = self.buffers.output().get(written..amount).unwrap_or_default();
            written += match (&self.stream).write(output) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(count) => count,
                Err(error) => again_or(error, timeout)?,
            };
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let count = loop {
            let left = self.left(timeout)?;
            self.stream.set_read_timeout(Some(left))?;
            match (&self.stream).read(self.buffers.input_append_buf()) {
                Ok(count) => break count,
                Err(error) => again_or(error, timeout)?,
            };
        };
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        // An attempt has a connection of its own.
        false
    }
}

/// No bytes for an interruption; the error of a timeout for what the system calls one.
fn again_or(error: io::Error, timeout: NextTimeout) -> Result<usize, Error> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(0),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Err(Error::Timeout(timeout.reason)),
        _ => Err(error.into()),
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// The TLS handshake's step: with the exchange by its own CA and under the name that the user gave, with a proxy of
/// https by the operating system's roots.
#[derive(Debug)]
pub struct Tls {
    /// The exchange's base URL.
    pub exchange: Uri,
    /// A URL of the name that stands in the exchange's certificate instead.
    pub named: Option<Uri>,
    /// What is used with a proxy.
    pub proxy_config: Config,
    to_exchange: RustlsConnector,
    to_proxy: RustlsConnector,
}

impl Tls {
    /// The step for the exchange at this base URL.
    #[must_use]
    pub fn new(exchange: Uri, named: Option<Uri>, proxy_config: Config) -> Self {
        Self {
            exchange,
            named,
            proxy_config,
            to_exchange: RustlsConnector::default(),
            to_proxy: RustlsConnector::default(),
        }
    }
}

impl<In: Transport> Connector<In> for Tls {
    type Out = <RustlsConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let is_exchange = details.uri.authority() == self.exchange.authority();
        let (connector, uri, config) = if is_exchange {
            (&self.to_exchange, self.named.as_ref().unwrap_or(details.uri), details.config)
        } else {
            (&self.to_proxy, details.uri, &self.proxy_config)
        };
        let details = ConnectionDetails {
            uri,
            addrs: details.resolver.empty(),
            config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        connector.connect(&details, chained).map_err(failed(Step::Handshake))
    }
}
