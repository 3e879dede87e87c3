//! The one request of the plugin: the key goes out, a token comes back. Cold path only.
//!
//! The certificate is checked against the given CA, else against the roots of the platform: those hold a company's
//! own CAs, and they cost no space in the binary, as built-in roots would.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use keyplane_core::key_format::PlaintextKey;
use rustls::pki_types::ServerName;
use ureq::http::{HeaderValue, Response, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy, RequestBuilder};
use zeroize::Zeroizing;

use crate::environment;
use crate::exchange::address::{EXCHANGE_PATH, ExchangeAddress, Trust};
use crate::exchange::answer::{Answer, Verdict, judge, judge_with};
use crate::exchange::connector::{Names, Tls, steps};
use crate::exchange::no_answer::no_answer;
use crate::exchange::proxy;
use crate::exchange::retry_rule::pause_before_retry;
use crate::exec_protocol::{ApiVersion, CredentialRequest};
use crate::failure::{Failure, FailureKind};
use crate::sign_of_life::SignOfLife;
use crate::token::BearerToken;
use crate::token::life::TokenLife;
use crate::verbose;

/// The longest wait for a name, and for a connection with its TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer's body that are read.
const BODY_MAX: u64 = 64 * 1024;
/// Bytes of an answer's headers that are read.
const HEADERS_MAX: usize = 16 * 1024;

/// Swaps the key for a token, within the total `timeout`. A `held` token is shown to the exchange, which gives it back
/// while it is alive, and another one otherwise.
///
/// A 503 and a failed connection are tried again by the [retry rule](crate::exchange::retry_rule); nothing else is. No
/// redirect is followed. Which proxy is asked, if any, says the [proxy rule](crate::exchange::proxy).
///
/// # Errors
/// The last attempt's failure; all kinds from [`FailureKind::Refused`] to [`FailureKind::Busy`], and those of a key.
pub fn swap(
    exchange: &ExchangeAddress,
    key: &PlaintextKey,
    version: ApiVersion,
    timeout: Duration,
    held: Option<&BearerToken>,
) -> Result<(BearerToken, TokenLife), Failure> {
    let body = serde_json::to_vec(&CredentialRequest::new(version, held))
        .map(Zeroizing::new)
        .map_err(|_| local("the request"))?;
    let connection = Connection::new(exchange, key, timeout)?;
    connection
        .ask(EXCHANGE_PATH, Some(&body), |answer, asked_at| judge(answer, asked_at, exchange.base.as_str()))
}

/// Gets what the exchange says to this key at a path such as `/v1/whoami`, by the same rules as [`swap`].
///
/// # Errors
/// As [`swap`].
pub fn get(
    exchange: &ExchangeAddress,
    key: &PlaintextKey,
    path: &str,
    timeout: Duration,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let base = exchange.base.as_str();
    Connection::new(exchange, key, timeout)?.ask(path, None, |answer, asked_at| {
        judge_with(answer, asked_at, base, |answer| match answer.body {
            Some(body) => Verdict::Given(Zeroizing::new(body.to_vec())),
            None => Verdict::Final(Failure::new(
                FailureKind::Server,
                "the exchange's answer is larger than 64 KiB",
                base,
                "check that --server is a Keyplane exchange",
            )),
        })
    })
}

struct Connection<'a> {
    agent: Agent,
    key: HeaderValue,
    base: &'a str,
    /// Host and port of the proxy, for people.
    proxy: Option<String>,
    until: Instant,
}

impl<'a> Connection<'a> {
    fn new(exchange: &'a ExchangeAddress, key: &PlaintextKey, timeout: Duration) -> Result<Self, Failure> {
        let proxy = proxy::choose(exchange, environment::text)?;
        let until = Instant::now() + timeout;
        Ok(Self {
            agent: agent(exchange, proxy.as_ref(), until)?,
            key: secret_header(key)?,
            base: exchange.base.as_str(),
            proxy: proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port())),
            until,
        })
    }

    fn ask<T>(
        &self,
        path: &str,
        body: Option<&[u8]>,
        judge: impl Fn(&Answer<'_>, DateTime<Utc>) -> Verdict<T>,
    ) -> Result<T, Failure> {
        let by = self.proxy.as_deref().map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
        let left = || self.until.saturating_duration_since(Instant::now());
        let mut attempts = 0;
        let _waiting = SignOfLife::while_waiting_for(self.base);
        loop {
            attempts += 1;
            verbose::note(format_args!("asks {}{path}{by}, attempt {attempts}", self.base));
            let (setback, failure) = match self.attempt(path, body, left(), &judge) {
                Verdict::Given(given) => return Ok(given),
                Verdict::Final(failure) => return Err(failure),
                Verdict::Later(setback, failure) => (setback, failure),
            };
            verbose::note(&failure);
            match pause_before_retry(setback, attempts, left()) {
                Some(pause) => thread::sleep(pause),
                None => return Err(failure),
            }
        }
    }

    fn attempt<T>(
        &self,
        path: &str,
        body: Option<&[u8]>,
        remaining: Duration,
        judge: impl Fn(&Answer<'_>, DateTime<Utc>) -> Verdict<T>,
    ) -> Verdict<T> {
        let asked_at = Utc::now();
        let url = format!("{}{path}", self.base);
        let sent = match body {
            Some(body) => prepared(self.agent.post(&url), &self.key, remaining)
                .header(header::CONTENT_TYPE, "application/json")
                .send(body),
            None => prepared(self.agent.get(&url), &self.key, remaining).call(),
        };
        let read = sent.and_then(|mut response| {
            let body = read_body(&mut response)?;
            Ok((response, body))
        });
        let (response, body) = match read {
            Ok(read) => read,
            Err(error) => return no_answer(&error, self.base, self.proxy.as_deref(), asked_at),
        };
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let answer = Answer {
            status: response.status().as_u16(),
            content_type: text(header::CONTENT_TYPE),
            date: text(header::DATE),
            retry_after: text(header::RETRY_AFTER),
            location: text(header::LOCATION),
            body: body.as_ref().map(|body| body.as_slice()),
        };
        judge(&answer, asked_at)
    }
}

fn prepared<B>(request: RequestBuilder<B>, key: &HeaderValue, limit: Duration) -> RequestBuilder<B> {
    let request = request.header(header::ACCEPT, "application/json").header("x-api-key", key.clone());
    request.config().timeout_global(Some(limit)).build()
}

/// The body, or none when it is too large: the status still says what happened.
fn read_body(response: &mut Response<Body>) -> Result<Option<Zeroizing<Vec<u8>>>, ureq::Error> {
    match response.body_mut().with_config().limit(BODY_MAX).read_to_vec() {
        Ok(body) => Ok(Some(Zeroizing::new(body))),
        Err(ureq::Error::BodyExceedsLimit(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn agent(
    exchange: &ExchangeAddress,
    proxy: Option<&Proxy>,
    until: Instant,
) -> Result<Agent, Failure> {
    let base = exchange.base.as_str();
    let roots = match &exchange.trust {
        Trust::Platform => RootCerts::PlatformVerifier,
        Trust::Pem(pem) => certificates(pem, base)?,
    };
    let uri = base.parse::<Uri>().map_err(|_| local("the exchange's address"))?;
    let named = exchange.tls_server_name.as_deref().map(url_of_name).transpose()?;
    let config = Agent::config_builder()
        .tls_config(tls_config(roots))
        .https_only(exchange.base.is_https())
        .proxy(proxy.cloned())
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("kubectl-keyplane/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .max_response_header_size(HEADERS_MAX)
        .build();
    let proxy_config =
        Agent::config_builder().tls_config(tls_config(RootCerts::PlatformVerifier)).proxy(None).build();
    Ok(Agent::with_parts(config, steps(until, Tls::new(uri, named, proxy_config)), Names::default()))
}

fn tls_config(roots: RootCerts) -> TlsConfig {
    TlsConfig::builder()
        .root_certs(roots)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

/// The URL of a name as it stands in certificates: a DNS name or an IP address.
fn url_of_name(name: &str) -> Result<Uri, Failure> {
    let host = match name.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => name.to_owned(),
    };
    ServerName::try_from(name)
        .ok()
        .and_then(|_| Uri::builder().scheme("https").authority(host).path_and_query("/").build().ok())
        .ok_or_else(|| {
            Failure::new(
                FailureKind::Usage,
                "this is no name that could stand in a certificate",
                format!("--tls-server-name {name}"),
                "give a DNS name or an IP address, without a port",
            )
        })
}

fn certificates(pem: &[u8], base: &str) -> Result<RootCerts, Failure> {
    let certificates = parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
            // A bundle may hold more than certificates.
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
        .collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(RootCerts::from(certificates)),
        _ => Err(Failure::new(
            FailureKind::Tls,
            "the exchange's CA holds no certificate that can be read",
            base,
            "give a PEM file with the CA's certificate as --certificate-authority",
        )),
    }
}

fn secret_header(key: &PlaintextKey) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(key.expose()).map_err(|_| local("the key's header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn local(part: &str) -> Failure {
    Failure::new(
        FailureKind::Local,
        format!("{part} cannot be made"),
        "",
        "report this as a defect of kubectl-keyplane",
    )
}
