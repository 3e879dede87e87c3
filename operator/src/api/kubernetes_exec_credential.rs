//! `POST /v1/kubernetes/exec-credential`: an `x-api-key` becomes a short-lived cluster token (seed 003).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use chrono::{DateTime, SecondsFormat, Utc};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode};
use keyplane_core::api_key::{
    Admitted, Presented, Refusal, Standing, is_allowed_from, reaches_kubernetes, standing,
};
use keyplane_core::audit::{AuditEvent, Code, EventId, RefusalReason, Source, Subject};
use keyplane_core::client_address::ClientAddress;
use keyplane_core::key_format::PlaintextKey;
use keyplane_core::readiness::ResourceKind;
use keyplane_crds::ApiKey;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use crate::audit::{self, AuditLog, RefusalLog};
use crate::exchange::{KeyIndex, RequestAddress, Token, TokenError, TokenIssuer};
use crate::key_use::KeyUse;

const PATH: &str = "/v1/kubernetes/exec-credential";
const V1: &str = "client.authentication.k8s.io/v1";
const V1BETA1: &str = "client.authentication.k8s.io/v1beta1";
const KIND: &str = "ExecCredential";

/// The seed's one sentence for every key that is not accepted, so that a stranger learns nothing from it.
const REFUSED: &str = "Missing, invalid, revoked, or expired API key";

/// What the surface needs.
pub(crate) struct Exchange {
    /// The keys.
    pub(crate) index: KeyIndex,
    /// Mints tokens.
    pub(crate) issuer: TokenIssuer,
    /// Counts uses, locks keys.
    pub(crate) key_use: Arc<KeyUse>,
    /// Takes down what was issued.
    pub(crate) audit: AuditLog,
    /// Takes down what was refused.
    pub(crate) refusals: RefusalLog,
    /// Who says so.
    pub(crate) source: Source,
}

/// The surface's routes.
pub(crate) fn routes(exchange: Arc<Exchange>) -> Router {
    Router::new().route(PATH, post(exchange_key).fallback(method_not_allowed)).with_state(exchange)
}

/// What is read of a request's ExecCredential; the rest of it is the client's own business.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestedCredential {
    api_version: String,
    kind: String,
}

/// The ExecCredential of the answer (Kubernetes, `client.authentication.k8s.io`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuedCredential<'a> {
    api_version: &'static str,
    kind: &'static str,
    status: IssuedStatus<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuedStatus<'a> {
    expiration_timestamp: String,
    token: &'a str,
}

async fn exchange_key(
    State(exchange): State<Arc<Exchange>>,
    Extension(RequestAddress(client)): Extension<RequestAddress>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    // A task of its own: a client that goes away at once keeps neither its denial from being written down nor a line out
    // of the audit log.
    let answering = tokio::spawn(answer_to(exchange, client.ok(), headers, body));
    answering.await.unwrap_or_else(|_| Err(failed()))
}

async fn answer_to(
    exchange: Arc<Exchange>,
    client: Option<ClientAddress>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Some(key) = presented_key(&headers) else {
        return Err(exchange.refuse(RefusalReason::Malformed, None, client, refused()).await);
    };
    let digest = key.digest();
    let now = Utc::now();
    let text = digest.to_string();
    let presented = Presented { digest: &text, address: client.map(|client| client.ip), now };
    let admitted = match exchange.index.admit(presented) {
        Ok(admitted) if exchange.key_use.is_locked(&admitted.key, now) => {
            // Locked here a moment ago; the watch has not told yet.
            return Err(exchange.refuse_use(None, &admitted.key, client, now).await);
        }
        Ok(admitted) => admitted,
        Err(refusal) => {
            let declared = exchange.index.declared(&digest);
            return Err(match declared {
                Some(key) => exchange.refuse_use(Some(refusal), &key, client, now).await,
                None => exchange.refuse(RefusalReason::Unknown, None, client, refused()).await,
            });
        }
    };
    let version = Some(admitted.version);
    let key = &admitted.key;
    if !reaches_kubernetes(&key.spec.scope) {
        let about = Some((key, version));
        return Err(exchange
            .refuse(RefusalReason::ScopeWithoutKubernetes, about, client, no_kubernetes())
            .await);
    }
    let api_version = match requested_version(&body) {
        Ok(api_version) => api_version,
        Err(problem) => {
            let about = Some((key, version));
            return Err(exchange.refuse(RefusalReason::InvalidRequest, about, client, problem).await);
        }
    };
    let Some(identity) = exchange.index.identity_of(&admitted, &digest) else {
        return Err(exchange
            .refuse(RefusalReason::SettingUp, Some((key, version)), client, setting_up())
            .await);
    };
    let ends = admitted.ends.into_iter().chain(key.spec.expires_at).min();
    let token = match exchange.issuer.issue(&identity, ends).await {
        Ok(token) => token,
        Err(error) => {
            tracing::warn!(key = %key.uid().unwrap_or_default(), %error, "no token issued");
            let (reason, problem) = match error {
                TokenError::IdentityMissing(_) => (RefusalReason::SettingUp, setting_up()),
                TokenError::Unavailable(_) => (RefusalReason::ClusterUnavailable, cluster_unavailable()),
            };
            return Err(exchange.refuse(reason, Some((key, version)), client, problem).await);
        }
    };
    // Minting took a moment, in which the key may have ended.
    if let Err(refusal) = exchange.index.admit(Presented { now: Utc::now(), ..presented }) {
        return Err(exchange.refuse_use(Some(refusal), key, client, now).await);
    }
    exchange.record(&admitted, &token, client, now).await?;
    exchange.key_use.used(key, admitted.version, client.map(|client| client.ip), now);
    Ok(answer(api_version, &token))
}

impl Exchange {
    /// Takes a refusal down, and gives the answer.
    async fn refuse(
        &self,
        reason: RefusalReason,
        about: Option<(&Arc<ApiKey>, Option<u32>)>,
        client: Option<ClientAddress>,
        answer: Problem,
    ) -> Problem {
        self.refuse_because(reason, None, about, client, answer).await
    }

    /// [`Exchange::refuse`], with why in words.
    async fn refuse_because(
        &self,
        reason: RefusalReason,
        message: Option<String>,
        about: Option<(&Arc<ApiKey>, Option<u32>)>,
        client: Option<ClientAddress>,
        answer: Problem,
    ) -> Problem {
        let refusal = audit::Refusal {
            reason,
            subject: about.map(|(key, _)| Subject::new(ResourceKind::ApiKey, &key.metadata)),
            client,
            message,
            version: about.and_then(|(_, version)| version),
        };
        if let Err(error) = self.refusals.refused(refusal).await {
            // A refusal gives nothing away, so it is answered nevertheless; it is counted, and told later.
            tracing::warn!(%error, "the audit log cannot be written");
        }
        answer
    }

    /// Refuses a use of a key that somebody declared: by what was decided from memory, or, without that, because this
    /// process has just locked it.
    async fn refuse_use(
        &self,
        refusal: Option<Refusal>,
        key: &Arc<ApiKey>,
        client: Option<ClientAddress>,
        now: DateTime<Utc>,
    ) -> Problem {
        let reason = match &refusal {
            None | Some(Refusal::Locked(_)) => RefusalReason::Locked,
            Some(Refusal::AddressNotAllowed) => RefusalReason::AddressDenied,
            Some(Refusal::NotReady { .. }) => RefusalReason::NotReady,
            Some(Refusal::SettingUp) => RefusalReason::SettingUp,
            Some(Refusal::Unknown) => match standing(key, now) {
                Standing::Revoked => RefusalReason::Revoked,
                Standing::Expired => RefusalReason::Expired,
                Standing::ExpiredAtCreation => RefusalReason::ExpiredAtCreation,
                Standing::Deleting => RefusalReason::Deleting,
                Standing::Live => RefusalReason::RotatedOut,
            },
        };
        let mut answer = refusal.as_ref().map_or_else(locked, problem);
        if matches!(reason, RefusalReason::AddressDenied | RefusalReason::Locked) {
            let address = client.map(|client| client.ip);
            let is_from_elsewhere = !is_allowed_from(key, address);
            if is_from_elsewhere {
                // Written down before it is answered: the third such use is the last that is looked at.
                let denied = self.key_use.denied(key, address, now).await;
                if denied.locked.is_some() {
                    answer = locked();
                }
            }
        }
        let message = match refusal {
            Some(Refusal::NotReady { reason, message }) => Some(format!("{reason}: {message}")),
            _ => None,
        };
        self.refuse_because(reason, message, Some((key, None)), client, answer).await
    }

    /// Takes down that a token was issued, before it is handed out.
    async fn record(
        &self,
        admitted: &Admitted,
        token: &Token,
        client: Option<ClientAddress>,
        now: DateTime<Utc>,
    ) -> Result<(), Problem> {
        let id = EventId::random(*uuid::Uuid::new_v4().as_bytes());
        let event = AuditEvent::new(Code::KeyExchanged, self.source.clone(), id, now)
            .about(Some(Subject::new(ResourceKind::ApiKey, &admitted.key.metadata)))
            .asked_from(client)
            .with_token(token.id.clone())
            .with_version(Some(admitted.version));
        self.audit.write(&event).await.map_err(|error| {
            tracing::warn!(%error, "no token issued: the audit log cannot be written");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "audit_unavailable",
                "What is issued cannot be taken down at the moment, so nothing is issued; try again",
            )
            .retry_after(2)
        })
    }
}

/// The one key that the request presents. Two headers are ambiguous and count as none.
fn presented_key(headers: &HeaderMap) -> Option<PlaintextKey> {
    let mut values = headers.get_all("x-api-key").iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    PlaintextKey::parse(value.to_str().ok()?).ok()
}

/// The version that the body asks for; v1 when there is no body.
fn requested_version(body: &[u8]) -> Result<&'static str, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(V1);
    }
    let invalid = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "invalid_exec_credential", detail);
    let requested: RequestedCredential = serde_json::from_slice(body)
        .map_err(|error| invalid(format!("The body must be empty or an ExecCredential as JSON: {error}")))?;
    match requested.api_version.as_str() {
        _ if requested.kind != KIND => Err(invalid(format!("The body's kind must be {KIND}"))),
        V1 => Ok(V1),
        V1BETA1 => Ok(V1BETA1),
        _ => Err(invalid(format!("The body's apiVersion must be {V1} or {V1BETA1}"))),
    }
}

fn answer(api_version: &'static str, token: &Token) -> Response {
    let credential = IssuedCredential {
        api_version,
        kind: KIND,
        status: IssuedStatus {
            expiration_timestamp: token.expires_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            token: &token.text,
        },
    };
    let mut response = Json(credential).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn problem(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Unknown => refused(),
        Refusal::Locked(_) => locked(),
        Refusal::AddressNotAllowed => Problem::new(
            StatusCode::FORBIDDEN,
            "address_not_allowed",
            "This API key may not be used from this address: its owner lists the addresses in spec.allowedCidrs",
        ),
        Refusal::NotReady { reason, message } => Problem::new(
            StatusCode::FORBIDDEN,
            "key_not_ready",
            format!("This API key is not ready ({reason}): {message}"),
        ),
        Refusal::SettingUp => setting_up(),
    }
}

fn no_kubernetes() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "scope_without_kubernetes",
        "This API key's scope does not include Kubernetes: use a key with scope kubernetes_exec or all",
    )
}

fn locked() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "key_locked",
        "This API key is locked after uses from addresses outside its list: its owner looks at status.securityEvents and \
         unlocks it with spec.unlockedAt",
    )
}

fn cluster_unavailable() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "cluster_unavailable",
        "The cluster's API server does not issue tokens at the moment; try again",
    )
    .retry_after(2)
}

fn refused() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_api_key", REFUSED)
}

fn failed() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "Keyplane failed to answer; its log says why",
    )
}

fn setting_up() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "access_being_set_up",
        "This API key's access is being set up; try again in a moment",
    )
    .retry_after(1)
}

async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Use POST with the header x-api-key")
}
