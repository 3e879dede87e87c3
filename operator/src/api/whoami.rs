//! `GET /v1/whoami`: whose key it is that was presented, what it may do, where and until when.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use keyplane_core::api_key::{Admitted, ScopePayload};
use keyplane_core::key_format::PlaintextKey;
use kube::ResourceExt;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::account::api_keys::{KeyNamespace, KeyScopes};
use super::documented_problems::problems;
use super::no_store::no_store;
use super::problem::{Problem, key_problem};
use crate::caller::{KeyCheck, KeyRefused, api_key_header};
use crate::exchange::RequestAddress;

/// The surface's routes.
pub(crate) fn routes() -> OpenApiRouter<Arc<KeyCheck>> {
    OpenApiRouter::new().routes(routes!(whoami))
}

/// A key, as its holder may know it.
#[derive(Serialize, ToSchema)]
#[schema(as = WhoAmI)]
struct Holder {
    /// The account.
    account: String,
    /// The key's id.
    id: String,
    /// The name of the ApiKey.
    name: String,
    /// What people call it; null: nobody said.
    #[schema(required = true)]
    display_name: Option<String>,
    /// The first characters of the key that was presented.
    prefix: String,
    /// What it may do.
    #[schema(value_type = KeyScopes)]
    scopes: ScopePayload,
    /// When the key that was presented ends: by itself, or because another has replaced it; null: not by itself.
    #[schema(required = true)]
    expires_at: Option<DateTime<Utc>>,
    /// From where it may be used; empty: from everywhere.
    allowed_cidrs: Vec<String>,
    /// The namespaces that it reaches now.
    namespaces: Vec<KeyNamespace>,
}

/// Whose key this is, and what it may do
///
/// For a key of any scope. It counts as a use of the key.
#[utoipa::path(
    get,
    path = "/v1/whoami",
    tag = "kubernetes",
    security(("apiKey" = [])),
    responses((status = 200, description = "The key", body = Holder), Refusals)
)]
async fn whoami(
    State(keys): State<Arc<KeyCheck>>,
    Extension(RequestAddress(client)): Extension<RequestAddress>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let client = client.ok();
    let key = api_key_header(&headers);
    let admitted = keys.recognize(key.as_ref(), client).await.map_err(key_problem)?;
    let Some(key) = key else { return Err(key_problem(KeyRefused::Invalid)) };
    // A use like any other: who has found a key tries it here first, and its owner is to see that.
    keys.used(&admitted, client);
    Ok(no_store(Json(Holder::of(&admitted, &key))))
}

impl Holder {
    fn of(admitted: &Admitted, presented: &PlaintextKey) -> Self {
        let key = &admitted.key;
        let reached = key.status.iter().flat_map(|status| status.namespaces.iter().cloned());
        Self {
            account: key.namespace().unwrap_or_default(),
            id: key.uid().unwrap_or_default(),
            name: key.name_any(),
            display_name: key.spec.display_name.clone(),
            prefix: presented.prefix().to_string(),
            scopes: ScopePayload::from(&key.spec.scope),
            expires_at: admitted.ends(),
            allowed_cidrs: key.spec.allowed_cidrs.clone(),
            namespaces: reached.map(KeyNamespace::from).collect(),
        }
    }
}

/// What is answered instead.
struct Refusals;

impl utoipa::IntoResponses for Refusals {
    fn responses() -> super::documented_problems::Answers {
        problems(&[
            ("401", "Missing, invalid, revoked, or expired API key"),
            (
                "403",
                "The key is locked, it may not be used from this address, or its declaration cannot be met",
            ),
            ("429", "Too many requests from this address had no valid credential"),
            ("500", "Keyplane failed to answer"),
            ("503", "The key is not on record yet"),
            ("504", "No answer in time"),
        ])
    }
}
