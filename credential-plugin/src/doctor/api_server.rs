//! The API server: whether it is reached as the kubeconfig says, and takes the token.
//!
//! It is asked directly, with the cluster's own address, CA, TLS name and proxy: so a fault of TLS, a refused token and
//! a missing right are told apart, and the token is in no argument and no file.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use rustls::CertificateError;
use ureq::{Error, Timeout};

use crate::doctor::finding::Finding;
use crate::doctor::shell::quoted;
use crate::exchange::address::{BaseUrl, ExchangeAddress, Trust};
use crate::exchange::connector::{Step, StepFailed};
use crate::failure::Failure;
use crate::kubeconfig::current::ClusterEntry;

/// The check's name.
pub const CHECK: &str = "api-server";

/// Where the API server is, by the cluster's entry, or what is wrong with the entry.
///
/// # Errors
/// The problem, as a line. `kubectl` is the program with the kubeconfig that is examined.
pub fn address(cluster: &ClusterEntry, kubectl: &str) -> Result<ExchangeAddress, Finding> {
    let set = |option: &str| set_cluster(kubectl, &cluster.name, option);
    if cluster.insecure_skip_tls_verify {
        return Err(Finding::problem(
            CHECK,
            format!(
                "the cluster {} has insecure-skip-tls-verify: whoever answers gets the token",
                cluster.name
            ),
            set("--insecure-skip-tls-verify=false --certificate-authority=FILE --embed-certs"),
        ));
    }
    let base = BaseUrl::parse(&cluster.server).map_err(|_| {
        Finding::problem(
            CHECK,
            format!("the cluster {} has no https address: {:?}", cluster.name, cluster.server),
            set("--server=https://HOST:PORT"),
        )
    })?;
    let ca = cluster.ca_pem().map_err(|failure| Finding::of_failure(CHECK, &failure))?;
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Ok(ExchangeAddress {
        tls_server_name: text(&cluster.tls_server_name),
        proxy_url: text(&cluster.proxy_url),
        ..ExchangeAddress::new(base, ca.map_or(Trust::Platform, Trust::Pem))
    })
}

fn set_cluster(kubectl: &str, name: &str, option: &str) -> String {
    format!("{kubectl} config set-cluster {} {option}", quoted(name))
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerSeen {
    /// The request could not be made.
    NotAsked(Failure),
    /// No answer came.
    Unreached(Fault),
    /// An answer.
    Answered {
        /// Its status code.
        status: u16,
        /// Whether it is in Kubernetes' own form.
        is_kubernetes: bool,
    },
}

/// Why no answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its name is not known.
    Name,
    /// The proxy does not lead there; why.
    Proxy(String),
    /// No connection; why.
    Connection(String),
    /// Its certificate comes from another CA.
    UnknownCa,
    /// Its certificate is for another name; for which.
    OtherName(String),
    /// Its certificate is not valid now; why.
    NotNow(String),
    /// Anything else about TLS.
    Tls(String),
    /// It is silent.
    Silent,
    /// What it says is not HTTP.
    NotHttp(String),
}

impl Fault {
    pub(super) fn of(error: &Error) -> Self {
        let Some(failed) = StepFailed::of(error) else {
            return match (tls_cause(error), error) {
                (Some(cause), _) => Self::of_tls(cause),
                (None, Error::Timeout(_)) => Self::Silent,
                (None, error) => Self::NotHttp(error.to_string()),
            };
        };
        match (failed.step, &failed.error) {
            (Step::Proxy, error) => Self::Proxy(error.to_string()),
            (Step::Name, _) => Self::Name,
            (Step::Connection, Error::Timeout(_)) => Self::Connection("no answer in time".to_owned()),
            (Step::Connection, error) => Self::Connection(error.to_string()),
            (Step::Handshake, Error::Timeout(Timeout::Connect | Timeout::Global)) => Self::Silent,
            (Step::Handshake, error) => match tls_cause(error) {
                Some(cause) => Self::of_tls(cause),
                None => Self::Tls(error.to_string()),
            },
        }
    }

    fn of_tls(cause: &rustls::Error) -> Self {
        let rustls::Error::InvalidCertificate(certificate) = cause else {
            return Self::Tls(cause.to_string());
        };
        match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownCa,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::OtherName(certificate.to_string())
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::NotNow(certificate.to_string()),
            other => Self::Tls(other.to_string()),
        }
    }
}

fn tls_cause(error: &Error) -> Option<&rustls::Error> {
    match error {
        Error::Rustls(cause) => Some(cause),
        Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// What the answer, or its absence, means; `kubectl` is the program with the kubeconfig that is examined.
#[must_use]
pub fn judge(seen: &ServerSeen, cluster: &ClusterEntry, kubectl: &str, now: DateTime<Utc>) -> Finding {
    let server = &cluster.server;
    let fault = match seen {
        ServerSeen::NotAsked(failure) => return Finding::of_failure(CHECK, failure),
        ServerSeen::Unreached(fault) => fault,
        ServerSeen::Answered { status: 200 | 201, is_kubernetes: true } => {
            return Finding::ok(CHECK, format!("{server} takes the token"));
        }
        ServerSeen::Answered { status: 401, is_kubernetes: true } => {
            return Finding::problem(
                CHECK,
                format!(
                    "{server} refuses the exchange's token (401): this cluster and this exchange do not belong together"
                ),
                "make the context again with the cluster and the exchange of one installation: kubectl keyplane \
                 kubeconfig --merge --server URL",
            );
        }
        ServerSeen::Answered { status: 403, is_kubernetes: true } => {
            return Finding::problem(
                CHECK,
                format!("{server} takes the token, and does not let it ask what it may do (403)"),
                "the cluster's administrator lets everybody ask: kubectl describe clusterrolebinding \
                 system:basic-user",
            );
        }
        ServerSeen::Answered { status, .. } => {
            return Finding::problem(
                CHECK,
                format!("{server} answers {status}, and not as an API server does"),
                set_cluster(kubectl, &cluster.name, "--server=https://HOST:PORT"),
            );
        }
    };
    let (found, remedy) = unreached(fault, cluster, kubectl, now);
    Finding::problem(CHECK, format!("{server}: {found}"), remedy)
}

fn unreached(fault: &Fault, cluster: &ClusterEntry, kubectl: &str, now: DateTime<Utc>) -> (String, String) {
    let set = |option: &str| set_cluster(kubectl, &cluster.name, option);
    let network = || {
        let mut remedy =
            "check the network (a VPN?), HTTPS_PROXY and NO_PROXY; or correct the address: ".to_owned();
        // Writing to a String cannot fail.
        let _ = write!(remedy, "{}", set("--server=https://HOST:PORT"));
        remedy
    };
    match fault {
        Fault::Name => ("its name is not known".to_owned(), network()),
        Fault::Connection(why) => (format!("it cannot be reached: {why}"), network()),
        Fault::Silent => ("it does not answer in time".to_owned(), network()),
        Fault::Proxy(why) => (
            format!("the proxy does not lead there: {why}"),
            format!("check HTTPS_PROXY and NO_PROXY, or: {}", set("--proxy-url=URL")),
        ),
        Fault::UnknownCa => (
            "its certificate comes from no CA that the cluster's entry trusts".to_owned(),
            set("--certificate-authority=FILE --embed-certs"),
        ),
        Fault::OtherName(why) => {
            (format!("its certificate is for another name: {why}"), set("--tls-server-name=NAME"))
        }
        Fault::NotNow(why) => (
            format!("its certificate is not valid now: {why}"),
            format!(
                "whoever runs the cluster renews it, unless this machine's clock, which says {}, is wrong",
                now.to_rfc3339_opts(SecondsFormat::Secs, true)
            ),
        ),
        Fault::Tls(why) => (format!("no secure connection: {why}"), set("--server=https://HOST:PORT")),
        Fault::NotHttp(why) => {
            (format!("its answer cannot be read: {why}"), set("--server=https://HOST:PORT"))
        }
    }
}
