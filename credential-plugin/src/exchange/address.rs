//! Where the exchange is, whom to trust as it, and the rule that a key never travels in clear text.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::Uri;

use crate::environment::CA_VARIABLE;
use crate::exchange::allowed::{AllowedExchange, check_address, check_trust};
use crate::exchange::port::{NoPort, port_of};
use crate::exec_protocol::{Cluster, ExchangeConfig};
use crate::failure::{Failure, FailureKind};
use crate::private_file::{open_regular, read_bounded};

/// Bytes of a CA file: the bundle of an operating system has a quarter of that.
const PEM_MAX: u64 = 1024 * 1024;
/// The path of the exchange under its base URL.
pub const EXCHANGE_PATH: &str = "/v1/kubernetes/exec-credential";
/// The path of what the exchange says about a key.
pub const WHOAMI_PATH: &str = "/v1/whoami";
/// The path of the kubeconfig that the exchange issues to a key.
pub const KUBECONFIG_PATH: &str = "/v1/kubernetes/kubeconfig";

/// Whose certificates are trusted as the exchange's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The roots that the operating system trusts, a company's own included.
    Platform,
    /// Only these, as PEM.
    Pem(Vec<u8>),
}

/// A checked base URL of an exchange: https, or http to this very machine; no user name, query, default port or
/// trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    loopback: bool,
}

impl BaseUrl {
    /// Reads a base URL.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when the text is no such URL; the text is not repeated where it may hold a password.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |what: &str, place: &str| {
            Failure::new(
                FailureKind::Usage,
                what,
                place,
                "give the exchange's address as https://HOST[:PORT]",
            )
        };
        if text.contains('@') {
            return Err(wrong("the exchange's address holds a user name", "address not shown"));
        }
        // The parser lets other bytes pass in a path, control characters among them.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("the exchange's address holds characters that a URL cannot hold", text));
        }
        let uri: Uri = text.parse().map_err(|_| wrong("the exchange's address is no URL", text))?;
        let (Some(scheme), Some(authority), Some(host)) = (uri.scheme_str(), uri.authority(), uri.host())
        else {
            return Err(wrong("the exchange's address is no whole URL", text));
        };
        if host.is_empty() {
            return Err(wrong("the exchange's address has no host", text));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(wrong("the exchange's address has a query or fragment", text));
        }
        let loopback = is_loopback(host);
        match scheme {
            "https" => {}
            "http" if loopback => {}
            "http" => {
                return Err(wrong(
                    "the key would travel in clear text: plain http is only for this machine itself",
                    text,
                ));
            }
            _ => return Err(wrong("the exchange's address is neither https nor http", text)),
        }
        let port = port_of(authority)
            .map_err(|NoPort| wrong("the exchange's address has no port from 1 to 65535", text))?;
        // One exchange has one text, for the cache and for what a cluster's extension may name.
        let default_port = if scheme == "https" { 443 } else { 80 };
        let port =
            port.filter(|port| *port != default_port).map_or_else(String::new, |port| format!(":{port}"));
        let host = host.to_ascii_lowercase();
        let path = uri.path().trim_end_matches('/');
        Ok(Self { text: format!("{scheme}://{host}{port}{path}"), loopback })
    }

    /// The URL as text, without a trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is https; else it is http to this very machine.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.text.starts_with("https:")
    }

    /// Whether it names this very machine: then no proxy is asked.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        self.loopback
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An exchange: its address, whom to trust as it, and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeAddress {
    /// Its base URL.
    pub base: BaseUrl,
    /// Whose certificates are trusted as its own.
    pub trust: Trust,
    /// The name in its certificate, when it is not the URL's host: the user's word alone.
    pub tls_server_name: Option<String>,
    /// The proxy that was named for it, not checked yet; without one the environment decides.
    pub proxy_url: Option<String>,
}

/// What the arguments, or the environment, say about the exchange.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named<'a> {
    /// The base URL, not checked yet.
    pub server: Option<&'a str>,
    /// A PEM file with the CA.
    pub certificate_authority: Option<&'a Path>,
    /// The name in the exchange's certificate.
    pub tls_server_name: Option<&'a str>,
    /// The proxy to it.
    pub proxy_url: Option<&'a str>,
    /// Whether a client may start this in whatever folder: then no path may depend on it.
    pub in_any_folder: bool,
}

impl Named<'_> {
    /// The CA in a file that the user named. In a checkout of somebody else's, a relative path would be their CA.
    fn ca(&self, path: &Path) -> Result<Vec<u8>, Failure> {
        if self.in_any_folder && !path.is_absolute() {
            return Err(Failure::new(
                FailureKind::Usage,
                "the path of the exchange's CA is relative: kubectl would trust another one in each folder",
                path.display().to_string(),
                format!("give its whole path to --certificate-authority or {CA_VARIABLE}"),
            ));
        }
        read_pem(path)
    }
}

impl ExchangeAddress {
    /// An exchange at this address with this trust, under its own name, reached as the environment says.
    #[must_use]
    pub const fn new(base: BaseUrl, trust: Trust) -> Self {
        Self { base, trust, tls_server_name: None, proxy_url: None }
    }

    /// The exchange that the `arguments` name, else that of the cluster's extension
    /// `client.authentication.k8s.io/exec` when its address is `allowed`, else that of the `environment`: what is
    /// exported for one cluster does not decide about another's kubeconfig.
    ///
    /// The extension's CA counts for the extension's address alone: a cluster's entry never says who may answer at an
    /// address that the user named. Nor does the environment's CA count for the extension's address. The cluster's
    /// proxy leads to the extension's address alone, unless that is this very machine: the two belong to one entry.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when there is no usable address, or when the extension's is not allowed;
    /// [`FailureKind::File`] when the CA cannot be read.
    pub fn locate(
        arguments: &Named<'_>,
        cluster: Option<&Cluster>,
        allowed: &[AllowedExchange],
        environment: &Named<'_>,
    ) -> Result<Self, Failure> {
        let mut exchange = match arguments.server {
            Some(server) => Self::of_user(named(server)?, arguments, environment),
            None => match (Self::of_cluster(arguments, cluster, allowed), environment.server) {
                (Ok(Some(exchange)), _) => Ok(exchange),
                (Ok(None) | Err(Unusable::NotAllowed(_)), Some(server)) => {
                    Self::of_user(server, arguments, environment)
                }
                (Ok(None), None) => Err(unknown()),
                (Err(Unusable::NotAllowed(failure) | Unusable::Wrong(failure)), _) => Err(failure),
            },
        }?;
        exchange.tls_server_name = arguments.tls_server_name.map(str::to_owned);
        if let Some(proxy) = arguments.proxy_url {
            exchange.proxy_url = Some(proxy.to_owned());
        }
        Ok(exchange)
    }

    fn of_user(server: &str, arguments: &Named<'_>, environment: &Named<'_>) -> Result<Self, Failure> {
        let base = BaseUrl::parse(server)?;
        let ca = arguments.certificate_authority.or(environment.certificate_authority);
        let trust = ca.map(|path| arguments.ca(path)).transpose()?.map_or(Trust::Platform, Trust::Pem);
        Ok(Self::new(base, trust))
    }

    /// The extension's exchange, or none when there is no extension or it names none.
    fn of_cluster(
        arguments: &Named<'_>,
        cluster: Option<&Cluster>,
        allowed: &[AllowedExchange],
    ) -> Result<Option<Self>, Unusable> {
        let named =
            |config: &&ExchangeConfig| config.server.as_ref().is_some_and(|server| !server.is_empty());
        let Some((cluster, config)) =
            cluster.and_then(|cluster| Some((cluster, cluster.config.as_ref().filter(named)?)))
        else {
            return Ok(None);
        };
        let base =
            BaseUrl::parse(config.server.as_deref().unwrap_or_default()).map_err(Unusable::NotAllowed)?;
        check_address(&base, allowed).map_err(Unusable::NotAllowed)?;
        let trust = if let Some(path) = arguments.certificate_authority {
            Trust::Pem(arguments.ca(path).map_err(Unusable::Wrong)?)
        } else {
            let trust = configured_trust(config).map_err(Unusable::Wrong)?;
            check_trust(&base, &trust, allowed).map_err(Unusable::Wrong)?;
            trust
        };
        let is_proxied = !cluster.proxy_url.is_empty() && !base.is_loopback();
        let proxy_url = is_proxied.then(|| cluster.proxy_url.clone());
        Ok(Some(Self { proxy_url, ..Self::new(base, trust) }))
    }
}

/// Why the extension's exchange cannot be used.
enum Unusable {
    /// It is none to which the key may go: the environment may name another.
    NotAllowed(Failure),
    /// It is the right one, and something is wrong with it.
    Wrong(Failure),
}

fn named(address: &str) -> Result<&str, Failure> {
    if address.is_empty() { Err(unknown()) } else { Ok(address) }
}

fn unknown() -> Failure {
    Failure::new(
        FailureKind::Usage,
        "the exchange's address is not known",
        "neither --server nor KEYPLANE_URL nor the cluster's extension names it",
        "give --server URL, or make the kubeconfig with: kubectl-keyplane kubeconfig",
    )
}

fn configured_trust(config: &ExchangeConfig) -> Result<Trust, Failure> {
    let wrong = |what: &str| {
        Failure::new(
            FailureKind::Usage,
            what,
            "the cluster's extension client.authentication.k8s.io/exec in the kubeconfig",
            "make the kubeconfig again with: kubectl-keyplane kubeconfig",
        )
    };
    if let Some(data) = config.certificate_authority_data.as_deref() {
        return STANDARD
            .decode(data)
            .map(Trust::Pem)
            .map_err(|_| wrong("certificateAuthorityData is not base64"));
    }
    let Some(path) = config.certificate_authority.as_deref().map(Path::new) else {
        return Ok(Trust::Platform);
    };
    if !path.is_absolute() {
        // kubectl starts plugins in the user's current folder: a relative path would mean another file each time.
        return Err(wrong("certificateAuthority is not an absolute path"));
    }
    // Who wrote the cluster's entry must not be able to hang kubectl.
    read_pem_with(path, open_regular).map(Trust::Pem)
}

/// Reads a PEM file that the user named, with at least one certificate marker in it. It may be a pipe, as a shell's
/// `<(...)` is.
///
/// # Errors
/// [`FailureKind::File`] when it cannot be read or holds no certificate.
pub fn read_pem(path: &Path) -> Result<Vec<u8>, Failure> {
    read_pem_with(path, |path| File::open(path))
}

fn read_pem_with(path: &Path, open: impl Fn(&Path) -> io::Result<File>) -> Result<Vec<u8>, Failure> {
    let wrong = |what: String| {
        Failure::new(
            FailureKind::File,
            what,
            path.display().to_string(),
            "give a PEM file with the CA's certificate",
        )
    };
    let bytes = open(path)
        .and_then(|file| read_bounded(file, PEM_MAX))
        .map_err(|error| wrong(format!("the CA file cannot be read: {error}")))?;
    let marker = b"-----BEGIN CERTIFICATE-----";
    if bytes.windows(marker.len()).any(|window| window == marker) {
        Ok(bytes.to_vec())
    } else {
        Err(wrong("the CA file holds no certificate".to_owned()))
    }
}
