//! The server that requests are passed on to: streaming both ways, nothing is kept.

use std::error::Error;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::runtime::InferenceArguments;

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may be unused. Less than servers wait (uvicorn 5 s): a request on a connection that the server
/// closes at that moment is lost.
const IDLE_LIMIT: Duration = Duration::from_secs(3);
/// After how long a silent connection is asked whether its other end is still there.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// A server to which requests are passed on.
pub(crate) struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    base: Uri,
    body_limit: u64,
    answer_limit: Duration,
}

/// A request as it is passed on.
pub(super) struct Passed {
    pub(super) method: Method,
    /// What is added to the server's path, with the query; it begins with `/`.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// Why there is no answer of the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The request's body is larger than this many bytes.
    BodyTooLarge(u64),
    /// The server cannot be reached, or ended the connection without an answer.
    Unreachable,
    /// No answer began in time.
    Late,
}

impl Upstream {
    /// The server that the arguments name.
    ///
    /// # Errors
    /// When its CA, or the system's roots, cannot be read.
    pub(crate) fn of(arguments: &InferenceArguments) -> anyhow::Result<Option<Self>> {
        let Some(base) = arguments.upstream.clone() else { return Ok(None) };
        let tls = ClientConfig::builder();
        let tls = match &arguments.upstream_ca_file {
            Some(path) => {
                let mut roots = RootCertStore::empty();
                let unusable = || format!("--inference-upstream-ca-file: cannot use {}", path.display());
                for certificate in CertificateDer::pem_file_iter(path).with_context(unusable)? {
                    roots.add(certificate.with_context(unusable)?).with_context(unusable)?;
                }
                tls.with_root_certificates(roots)
            }
            None if base.scheme() == Some(&Scheme::HTTPS) => tls.with_native_roots().context(
                "--inference-upstream: the system has no roots; give --inference-upstream-ca-file",
            )?,
            None => tls.with_root_certificates(RootCertStore::empty()),
        };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        connector.set_keepalive(Some(KEEPALIVE));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .build(connector);
        Ok(Some(Self {
            client,
            base,
            body_limit: arguments.body_limit_bytes,
            answer_limit: Duration::from_secs(arguments.answer_seconds),
        }))
    }

    /// Whether a body may be passed on, as far as its length in bytes is known before it came.
    ///
    /// # Errors
    /// When it is too large.
    pub(super) fn check(&self, length: u64) -> Result<(), NoAnswer> {
        if length > self.body_limit { Err(NoAnswer::BodyTooLarge(self.body_limit)) } else { Ok(()) }
    }

    /// Passes a request on. Dropping what this returns, or the answer's body, ends the request.
    ///
    /// # Errors
    /// When there is no answer.
    pub(super) async fn pass(&self, request: Passed) -> Result<Response<Body>, NoAnswer> {
        let limit = usize::try_from(self.body_limit).unwrap_or(usize::MAX);
        let mut passed = Request::new(Body::new(Limited::new(request.body, limit)));
        *passed.method_mut() = request.method;
        *passed.uri_mut() = self.uri(&request.target).ok_or(NoAnswer::Unreachable)?;
        *passed.headers_mut() = request.headers;
        let answer = tokio::time::timeout(self.answer_limit, self.client.request(passed)).await;
        match answer.map_err(|_| NoAnswer::Late)? {
            Ok(answer) => Ok(answer.map(Body::new)),
            Err(error) if is_too_large(&error) => Err(NoAnswer::BodyTooLarge(self.body_limit)),
            Err(error) => {
                let cause = causes(&error).last().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(upstream = %self.base, %cause, "a request was not passed on");
                Err(NoAnswer::Unreachable)
            }
        }
    }

    fn uri(&self, target: &str) -> Option<Uri> {
        let path = self.base.path().trim_end_matches('/');
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(format!("{path}{target}")).ok()?);
        Uri::from_parts(parts).ok()
    }
}

/// Whether a request failed because its body reached the limit on the way.
fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(<dyn Error>::is::<LengthLimitError>)
}

/// An error and what is beneath it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let current = next?;
        next = current.source();
        Some(current)
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::Router;
    use axum::routing::any;
    use axum_server::tls_rustls::RustlsConfig;
    use clap::Parser;
    use http_body_util::BodyExt;

    use super::*;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        inference: InferenceArguments,
    }

    fn upstream(arguments: &[&str]) -> anyhow::Result<Upstream> {
        let Alone { inference } = Alone::try_parse_from(["keyplane"].iter().chain(arguments))?;
        Upstream::of(&inference)?.context("no server is named")
    }

    /// A server over TLS that answers with the path it was asked for, and the file with its certificate.
    async fn server() -> (SocketAddr, tempfile::NamedTempFile) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), made.cert.pem()).unwrap();
        let key = made.signing_key.serialize_pem();
        let tls = RustlsConfig::from_pem(made.cert.pem().into(), key.into()).await.unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(any(async |uri: Uri| uri.to_string()));
        tokio::spawn(axum_server::from_tcp_rustls(listener, tls).unwrap().serve(router.into_make_service()));
        (address, ca)
    }

    async fn asked(upstream: &Upstream, target: &str) -> Result<String, NoAnswer> {
        let passed = Passed {
            method: Method::GET,
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: Body::empty(),
        };
        let body = upstream.pass(passed).await?.into_body().collect().await.unwrap().to_bytes();
        Ok(String::from_utf8(body.into()).unwrap())
    }

    #[tokio::test]
    async fn over_tls_only_a_server_of_the_given_ca_is_asked() {
        let (address, ca) = server().await;
        let (_, another_ca) = server().await;
        for (path, expected) in [("", "/a?b=c"), ("/", "/a?b=c"), ("/v1", "/v1/a?b=c"), ("/v1/", "/v1/a?b=c")]
        {
            let url = format!("https://localhost:{}{path}", address.port());
            let ca_file = ca.path().to_str().unwrap();
            let upstream =
                upstream(&["--inference-upstream", &url, "--inference-upstream-ca-file", ca_file]).unwrap();
            assert_eq!(asked(&upstream, "/a?b=c").await.unwrap(), expected);
        }
        let url = format!("https://localhost:{}", address.port());
        let ca_file = another_ca.path().to_str().unwrap();
        let other = ["--inference-upstream", &url, "--inference-upstream-ca-file", ca_file];
        assert_eq!(asked(&upstream(&other).unwrap(), "/").await, Err(NoAnswer::Unreachable));
    }

    #[test]
    fn what_is_no_servers_url_is_refused_at_start() {
        for url in [
            "inference:8000",
            "ftp://inference",
            "https://user:secret@inference",
            "http://inference/?a=b",
            "/v1",
        ] {
            let error = upstream(&["--inference-upstream", url]).err().unwrap().to_string();
            assert!(error.contains("a URL is needed"), "{url}: {error}");
        }
        let missing =
            ["--inference-upstream", "https://a", "--inference-upstream-ca-file", "/nowhere/ca.crt"];
        let error = format!("{:#}", upstream(&missing).err().unwrap());
        assert!(error.contains("cannot use /nowhere/ca.crt"), "{error}");
    }
}
