//! The server that requests are passed on to: streaming both ways, nothing is kept.

use std::error::Error;
use std::time::Duration;

use anyhow::Context;
use axum::body::{Body, HttpBody};
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
const KEEPALIVE: Duration = Duration::from_secs(60);

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
        let Some(base) = arguments.inference_upstream.clone() else { return Ok(None) };
        let tls = ClientConfig::builder();
        let tls = match &arguments.inference_upstream_ca_file {
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
            body_limit: arguments.inference_body_limit_bytes,
            answer_limit: Duration::from_secs(arguments.inference_answer_seconds),
        }))
    }

    /// Passes a request on. Dropping what this returns, or the answer's body, ends the request.
    ///
    /// # Errors
    /// When there is no answer.
    pub(super) async fn pass(&self, request: Passed) -> Result<Response<Body>, NoAnswer> {
        if request.body.size_hint().lower() > self.body_limit {
            return Err(NoAnswer::BodyTooLarge(self.body_limit));
        }
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
    causes(error).any(|cause| cause.is::<LengthLimitError>())
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
