//! What the HTTP framework answers by itself, as a [`Problem`]: a body that is too large, no answer in time. It says so with
//! a bare status or a line of text, and clients of `/v1` are promised one form for every error.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use super::problem::Problem;

/// The surfaces of `/v1` whose answers are others': a gateway's, for which a status is all, and the inference service's.
const OTHERS: [&str; 2] = ["/v1/verify", "/v1/inference"];

/// Middleware: gives bare errors under `/v1` their form.
pub(crate) async fn as_problems(request: Request, next: Next) -> Response {
    let promises_problems = promises_problems(request.uri().path());
    let response = next.run(request).await;
    if promises_problems && is_bare(&response) { with_form(response) } else { response }
}

fn promises_problems(path: &str) -> bool {
    let is_below = |beginning: &str| {
        path.strip_prefix(beginning).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    is_below("/v1") && !OTHERS.into_iter().any(is_below)
}

/// Whether an error has no form, or is a line of text.
fn is_bare(response: &Response) -> bool {
    let status = response.status();
    let content = response.headers().get(CONTENT_TYPE);
    (status.is_client_error() || status.is_server_error())
        && content.is_none_or(|content| content.as_bytes().starts_with(b"text/plain"))
}

/// The same, with what else its headers say.
fn with_form(response: Response) -> Response {
    let mut formed = problem(response.status()).into_response();
    let mut headers = response.into_parts().0.headers;
    headers.remove(CONTENT_TYPE);
    headers.remove(CONTENT_LENGTH);
    formed.headers_mut().extend(headers);
    formed
}

fn problem(status: StatusCode) -> Problem {
    let (code, detail) = match status {
        StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "The body is larger than any that is taken"),
        StatusCode::GATEWAY_TIMEOUT => (
            "timeout",
            "Keyplane did not finish in time; what was begun may still come to its end, so look before you try again",
        ),
        _ if status.is_client_error() => ("invalid_request", "The request cannot be used as it stands"),
        _ => ("internal_error", "Keyplane failed to answer; its log says why"),
    };
    Problem::new(status, code, detail)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::{Body, Bytes, to_bytes};
    use axum::extract::{DefaultBodyLimit, Path};
    use axum::routing::{get, post};
    use axum::{Router, middleware};
    use http::HeaderMap;
    use serde_json::Value;
    use tower::ServiceExt;
    use tower_http::timeout::TimeoutLayer;

    use super::*;

    async fn answer(method: &str, path: &str, body: &'static str) -> (StatusCode, HeaderMap, Value) {
        let limit = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_millis(1));
        let router = Router::new()
            .route("/v1/body", post(async |_: Bytes| ()))
            .route("/v1/slow", get(std::future::pending::<()>))
            .route("/v1/number/{number}", get(async |_: Path<u8>| ()))
            .route("/v1/own", get(async || Problem::new(StatusCode::CONFLICT, "own", "mine")))
            .route("/v1/verify", get(async || StatusCode::UNAUTHORIZED))
            .route("/v1/inference/image", post(async |_: Bytes| ()))
            .route("/api/account/ssh-keys", get(std::future::pending::<()>))
            .layer(DefaultBodyLimit::max(4))
            .layer(limit)
            .layer(middleware::from_fn(as_problems));
        let request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
        let (head, body) = router.oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (head.status, head.headers, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn what_the_framework_answers_by_itself_has_the_form_of_all_errors() {
        for (method, path, body, status, code) in [
            ("POST", "/v1/body", "too large", 413, "body_too_large"),
            ("GET", "/v1/slow", "", 504, "timeout"),
            ("GET", "/v1/number/none", "", 400, "invalid_request"),
            ("GET", "/v1/number/%ff", "", 400, "invalid_request"),
            ("GET", "/v1/nowhere", "", 404, "invalid_request"),
            ("PUT", "/v1/body", "", 405, "invalid_request"),
            ("GET", "/v1/own", "", 409, "own"),
        ] {
            let (answered, headers, problem) = answer(method, path, body).await;
            assert_eq!((answered.as_u16(), &problem["code"]), (status, &code.into()), "{path}");
            assert_eq!(problem["status"], status, "{path}");
            assert_eq!(headers[CONTENT_TYPE], "application/problem+json", "{path}");
            assert_eq!(headers.contains_key("allow"), status == 405, "{path}: {headers:?}");
        }
    }

    #[tokio::test]
    async fn what_is_another_surfaces_to_say_stays_as_it_is() {
        for (method, path, body, status) in [
            ("GET", "/v1/verify", "", 401),
            ("POST", "/v1/inference/image", "too large", 413),
            ("GET", "/api/account/ssh-keys", "", 504),
            ("GET", "/v1-other", "", 404),
        ] {
            let (answered, headers, _) = answer(method, path, body).await;
            assert_eq!(answered.as_u16(), status, "{path}");
            let content = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
            assert_ne!(content, Some(&b"application/problem+json"[..]), "{path}");
        }
    }
}
