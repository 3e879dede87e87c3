//! Answers that no cache may keep: they hold keys or tokens, or what can change at any moment.

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CACHE_CONTROL;

/// The answer with `cache-control: no-store` (RFC 9111).
pub(crate) fn no_store(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
