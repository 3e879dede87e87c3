//! Single requests to the API server, by path, with its answer as it is. For tests of what it refuses: the typed
//! calls of `kube` cannot ask for strict field validation on create.

use anyhow::Result;
use http::{Method, Request};
use kube::Client;
use kube::core::Status;
use serde_json::Value;

/// What the API server answered: the object, or its refusal.
pub type Answer = Result<Value, Box<Status>>;

/// Unknown fields are refused, as kubectl asks for by default.
pub const STRICT: &str = "fieldValidation=Strict";
/// The same, and nothing is stored.
pub const DRY_RUN: &str = "fieldValidation=Strict&dryRun=All";

/// Sends a request; a PATCH is a JSON merge patch.
///
/// # Errors
/// When there is no answer.
pub async fn send(client: &Client, method: Method, path: &str, query: &str, body: &Value) -> Result<Answer> {
    let content = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder()
        .method(method)
        .uri(format!("{path}?{query}"))
        .header("Content-Type", content)
        .body(serde_json::to_vec(body)?)?;
    match client.request::<Value>(request).await {
        Ok(object) => Ok(Ok(object)),
        Err(kube::Error::Api(status)) => Ok(Err(status)),
        Err(error) => Err(error.into()),
    }
}
