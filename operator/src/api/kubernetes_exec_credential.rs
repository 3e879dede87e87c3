//! `POST /v1/kubernetes/exec-credential`: an `x-api-key` becomes a short-lived cluster token (seed 003).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderMap, StatusCode};
use keyplane_core::api_key::{Admitted, reaches_kubernetes};
use keyplane_core::audit::{AuditEvent, Code, EventId, RefusalReason, Source, Subject};
use keyplane_core::client_address::ClientAddress;
use keyplane_core::key_format::PlaintextKey;
use keyplane_core::readiness::ResourceKind;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use super::documented_problems::{BodyProblems, KeyHolderProblems};
use super::json_body::json_body;
use super::no_store::no_store;
use super::problem::{Problem, audit_unavailable, cluster_unavailable, key_problem};
use super::to_its_end::to_its_end;
use crate::audit::AuditLog;
use crate::caller::{KeyCheck, KeyRefused, api_key_header};
use crate::exchange::{HeldTokens, Identity, RequestAddress, Token, TokenError, TokenIssuer};

const V1: &str = "client.authentication.k8s.io/v1";
const V1BETA1: &str = "client.authentication.k8s.io/v1beta1";
const KIND: &str = "ExecCredential";

/// What the surface needs.
pub(crate) struct Exchange {
    /// Decides about keys.
    pub(crate) keys: Arc<KeyCheck>,
    /// Mints tokens.
    pub(crate) issuer: TokenIssuer,
    /// Looks at those that callers hold.
    pub(crate) held: HeldTokens,
    /// Takes down what was issued.
    pub(crate) audit: AuditLog,
    /// Who says so.
    pub(crate) source: Source,
}

/// The surface's routes.
pub(crate) fn routes() -> OpenApiRouter<Arc<Exchange>> {
    OpenApiRouter::new().routes(routes!(exchange_key))
}

/// What is read of a request's ExecCredential; the rest of it is the client's own business.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecCredentialRequest)]
struct RequestedCredential {
    /// `client.authentication.k8s.io/v1` or `client.authentication.k8s.io/v1beta1`: the answer's version.
    #[schema(
        pattern = "^client\\.authentication\\.k8s\\.io/(v1|v1beta1)$",
        example = "client.authentication.k8s.io/v1"
    )]
    api_version: String,
    /// `ExecCredential`.
    #[schema(pattern = "^ExecCredential$", example = "ExecCredential")]
    kind: String,
    /// What the caller was issued before.
    #[serde(default)]
    status: Option<HeldStatus>,
}

/// What the caller was issued before.
#[derive(Deserialize, ToSchema)]
#[schema(as = HeldExecCredentialStatus)]
struct HeldStatus {
    /// The token that the caller holds. While it is accepted and a quarter of its life is left, it is the answer.
    #[serde(default)]
    token: Option<String>,
}

/// The ExecCredential of the answer (Kubernetes, `client.authentication.k8s.io`).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecCredential)]
struct IssuedCredential<'a> {
    /// As it was asked for; `client.authentication.k8s.io/v1` without a body.
    api_version: &'static str,
    /// `ExecCredential`.
    kind: &'static str,
    /// What was issued.
    status: IssuedStatus<'a>,
}

/// What was issued.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecCredentialStatus)]
struct IssuedStatus<'a> {
    /// Until when the token is accepted.
    #[schema(format = DateTime)]
    expiration_timestamp: String,
    /// The token, for the cluster's API server.
    token: &'a str,
}

/// Swaps an API key for a short-lived cluster token
///
/// kubectl-keyplane does this for kubectl. The token ends with the key at the latest. Who holds a token already may show it in
/// `status.token`: while the cluster accepts it and a quarter of its life is left it is the answer, else a new one is.
#[utoipa::path(
    post,
    path = "/v1/kubernetes/exec-credential",
    tag = "kubernetes",
    security(("apiKey" = [])),
    request_body(content = Option<RequestedCredential>, description = "An ExecCredential that names the version wanted, and may show the token that the caller holds; may be left out"),
    responses(
        (status = 200, description = "The token", body = IssuedCredential),
        KeyHolderProblems,
        BodyProblems,
    )
)]
async fn exchange_key(
    State(exchange): State<Arc<Exchange>>,
    Extension(RequestAddress(client)): Extension<RequestAddress>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    // A client that goes away at once keeps neither its denial from being written down nor a line out of the audit log.
    to_its_end(answer_to(exchange, client.ok(), headers, body)).await
}

async fn answer_to(
    exchange: Arc<Exchange>,
    client: Option<ClientAddress>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let keys = &exchange.keys;
    let key = api_key_header(&headers);
    let admitted = keys.admit(key.as_ref(), client, &[]).await.map_err(key_problem)?;
    let Some(digest) = key.as_ref().map(PlaintextKey::digest) else {
        return Err(key_problem(KeyRefused::Invalid));
    };
    if !reaches_kubernetes(&admitted.key.spec.scope) {
        keys.refuse(RefusalReason::ScopeWithoutKubernetes, &admitted, client).await;
        return Err(no_kubernetes());
    }
    let asked = match asked(&body) {
        Ok(asked) => asked,
        Err(problem) => {
            keys.refuse(RefusalReason::InvalidRequest, &admitted, client).await;
            return Err(problem);
        }
    };
    let Some(identity) = keys.index.identity_of(&admitted, &digest) else {
        keys.refuse(RefusalReason::SettingUp, &admitted, client).await;
        return Err(key_problem(KeyRefused::SettingUp));
    };
    let ends = admitted.ends();
    let held = match asked.held {
        Some(held) => exchange.held.good(held, &identity, ends).await,
        None => None,
    };
    let (token, is_new) = match held {
        Some(held) => (held, false),
        None => (exchange.mint(&identity, ends, &admitted, client).await?, true),
    };
    // That took a moment, in which the key may have ended.
    keys.admit_still(&digest, client).await.map_err(key_problem)?;
    // Of a token that its holder shows the log tells already; that it is still good gives them nothing.
    if is_new {
        exchange.record(&admitted, &token, client).await?;
    }
    keys.used(&admitted, client);
    Ok(answer(asked.api_version, &token))
}

impl Exchange {
    /// A new token.
    async fn mint(
        &self,
        identity: &Identity,
        ends: Option<DateTime<Utc>>,
        admitted: &Admitted,
        client: Option<ClientAddress>,
    ) -> Result<Token, Problem> {
        let error = match self.issuer.issue(identity, ends).await {
            Ok(token) => return Ok(token),
            Err(error) => error,
        };
        tracing::warn!(key = %admitted.key.uid().unwrap_or_default(), %error, "no token issued");
        let (reason, problem) = match error {
            TokenError::IdentityMissing(_) => (RefusalReason::SettingUp, key_problem(KeyRefused::SettingUp)),
            TokenError::Unavailable(_) => (RefusalReason::ClusterUnavailable, cluster_unavailable()),
        };
        self.keys.refuse(reason, admitted, client).await;
        Err(problem)
    }

    /// Takes down that a token was issued, before it is handed out.
    async fn record(
        &self,
        admitted: &Admitted,
        token: &Token,
        client: Option<ClientAddress>,
    ) -> Result<(), Problem> {
        let id = EventId::random(*uuid::Uuid::new_v4().as_bytes());
        let event = AuditEvent::new(Code::KeyExchanged, self.source.clone(), id, Utc::now())
            .about(Some(Subject::new(ResourceKind::ApiKey, &admitted.key.metadata)))
            .asked_from(client)
            .with_token(token.id.clone())
            .with_version(Some(admitted.version));
        self.audit.write(&event).await.map_err(|error| {
            tracing::warn!(%error, "no token issued: the audit log cannot be written");
            audit_unavailable()
        })
    }
}

/// What a body asks for.
struct Asked {
    /// The answer's version.
    api_version: &'static str,
    /// The token that the caller shows.
    held: Option<Zeroizing<String>>,
}

/// What the body asks for; v1 when there is no body.
fn asked(body: &[u8]) -> Result<Asked, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Asked { api_version: V1, held: None });
    }
    let invalid = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "invalid_exec_credential", detail);
    let requested: RequestedCredential = json_body(body)
        .map_err(|error| invalid(format!("The body must be empty or an ExecCredential as JSON: {error}")))?;
    let held = requested.status.and_then(|status| status.token).map(Zeroizing::new);
    match requested.api_version.as_str() {
        _ if requested.kind != KIND => Err(invalid(format!("The body's kind must be {KIND}"))),
        V1 => Ok(Asked { api_version: V1, held }),
        V1BETA1 => Ok(Asked { api_version: V1BETA1, held }),
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
    no_store(Json(credential))
}

fn no_kubernetes() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "scope_without_kubernetes",
        "This API key's scope does not include Kubernetes: use a key with scope kubernetes_exec or all",
    )
}
