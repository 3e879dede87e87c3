//! A request of the doctor's own, over the connection that the plugin itself would use.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use ureq::http::{HeaderValue, Response, header};
use ureq::{Body, Proxy, RequestBuilder};
use zeroize::Zeroizing;

use crate::exchange::address::ExchangeAddress;
use crate::exchange::client;
use crate::failure::{Failure, FailureKind};
use crate::sign_of_life::SignOfLife;
use crate::token::BearerToken;

/// Bytes of an answer's body that are read.
const BODY_MAX: u64 = 64 * 1024;

/// An answer, as far as it is looked at.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: String,
    /// The answer's date, by the clock of who answered.
    pub(super) date: Option<DateTime<Utc>>,
    /// When the request left, by this machine's clock.
    pub(super) asked_at: DateTime<Utc>,
    /// When the answer came, by this machine's clock.
    pub(super) answered_at: DateTime<Utc>,
    /// The body; empty when it was too large.
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoReply {
    /// The request could not be made.
    Failure(Failure),
    /// The connection, or what came over it.
    Error(ureq::Error),
}

impl From<ureq::Error> for NoReply {
    fn from(error: ureq::Error) -> Self {
        Self::Error(error)
    }
}

impl From<Failure> for NoReply {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Gets a path without any credential.
pub(super) fn get(
    address: &ExchangeAddress,
    proxy: Option<&Proxy>,
    path: &str,
    limit: Duration,
) -> Result<Reply, NoReply> {
    let _waiting = SignOfLife::while_waiting_for(address.base.as_str());
    let agent = client::agent(address, proxy, Instant::now() + limit)?;
    let request = agent.get(format!("{}{path}", address.base.as_str()));
    let asked_at = Utc::now();
    read(prepared(request, limit).call()?, asked_at)
}

/// Posts JSON with a token.
pub(super) fn post(
    address: &ExchangeAddress,
    proxy: Option<&Proxy>,
    path: &str,
    token: &BearerToken,
    json: &[u8],
    limit: Duration,
) -> Result<Reply, NoReply> {
    let _waiting = SignOfLife::while_waiting_for(address.base.as_str());
    let agent = client::agent(address, proxy, Instant::now() + limit)?;
    let request = agent.post(format!("{}{path}", address.base.as_str()));
    let bearer = Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut bearer = HeaderValue::from_str(&bearer).map_err(|_| {
        Failure::new(FailureKind::Local, "the token's header cannot be made", "", "report this as a defect")
    })?;
    bearer.set_sensitive(true);
    let asked_at = Utc::now();
    let request = prepared(request, limit)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, bearer);
    read(request.send(json)?, asked_at)
}

fn prepared<B>(request: RequestBuilder<B>, limit: Duration) -> RequestBuilder<B> {
    request.header(header::ACCEPT, "application/json").config().timeout_global(Some(limit)).build()
}

fn read(mut response: Response<Body>, asked_at: DateTime<Utc>) -> Result<Reply, NoReply> {
    let answered_at = Utc::now();
    let body = match response.body_mut().with_config().limit(BODY_MAX).read_to_vec() {
        Err(ureq::Error::BodyExceedsLimit(_)) => Vec::new(),
        body => body?,
    };
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    Ok(Reply {
        status: response.status().as_u16(),
        content_type: text(header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase(),
        date: text(header::DATE).and_then(|date| httpdate::parse_http_date(date).ok()).map(DateTime::from),
        asked_at,
        answered_at,
        body: Zeroizing::new(body),
    })
}
