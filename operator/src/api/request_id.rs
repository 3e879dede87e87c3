//! `x-request-id`: a name for each request, the client's own where it is harmless, that is in every answer and that people
//! can tell each other.

use axum::extract::Request;
use http::{HeaderName, HeaderValue};
use tower::util::MapRequestLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The longest name that is taken from a client, in characters.
const LONGEST: usize = 128;

/// What [`layers`] gives: applied from the first to the last.
pub(crate) type RequestIdLayers =
    (MapRequestLayer<fn(Request) -> Request>, SetRequestIdLayer<MakeRequestUuid>, PropagateRequestIdLayer);

/// The layers that name requests. They belong around all others, so that whatever answers, the name is in the answer.
/// Handlers find it as the extension [`tower_http::request_id::RequestId`].
pub(crate) fn layers() -> RequestIdLayers {
    (
        MapRequestLayer::new(without_unusable as fn(Request) -> Request),
        SetRequestIdLayer::new(HEADER, MakeRequestUuid),
        PropagateRequestIdLayer::new(HEADER),
    )
}

/// Takes a name away that is none, or not the only one: a log may show it, and a terminal the log.
fn without_unusable(mut request: Request) -> Request {
    let mut names = request.headers().get_all(HEADER).iter();
    let is_usable = names.next().is_some_and(is_usable) && names.next().is_none();
    if !is_usable {
        request.headers_mut().remove(HEADER);
    }
    request
}

fn is_usable(name: &HeaderValue) -> bool {
    let name = name.as_bytes();
    let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=LONGEST).contains(&name.len()) && name.iter().all(is_safe)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use http::StatusCode;
    use tower::ServiceExt;
    use tower_http::timeout::TimeoutLayer;
    use uuid::Uuid;

    use super::*;

    /// The names in the answer to a request that came with these.
    async fn named(path: &str, names: &[&[u8]]) -> (StatusCode, Vec<String>) {
        let router = Router::new()
            .route("/", get(async || "ok"))
            .route("/slow", get(std::future::pending::<()>))
            .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_millis(1)))
            .layer(layers());
        let mut request = Request::builder().uri(path);
        for name in names {
            request = request.header(HEADER, HeaderValue::from_bytes(name).unwrap());
        }
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let names = answer.headers().get_all(HEADER).iter().map(|name| name.to_str().unwrap().to_owned());
        (answer.status(), names.collect())
    }

    #[tokio::test]
    async fn a_harmless_name_of_the_clients_is_in_the_answer() {
        let longest = "a".repeat(LONGEST);
        for name in ["x", "Ab-1.2_3", &longest] {
            assert_eq!(named("/", &[name.as_bytes()]).await.1, [name]);
        }
    }

    #[tokio::test]
    async fn any_other_is_replaced_by_a_new_one() {
        let longer = "a".repeat(LONGEST + 1);
        let cases: [&[&[u8]]; 8] = [
            &[],
            &[b""],
            &[b"a b"],
            &[b"a\tb"],
            &[b"<b>"],
            &[b"\xff"],
            &[longer.as_bytes()],
            &[b"one", b"two"],
        ];
        for names in cases {
            let (_, given) = named("/", names).await;
            let [given] = &given[..] else { panic!("{given:?}") };
            assert!(Uuid::parse_str(given).is_ok_and(|id| id.get_version_num() == 4), "{given}");
        }
    }

    #[tokio::test]
    async fn whatever_answers_the_name_is_in_the_answer() {
        for (path, status) in [("/nowhere", StatusCode::NOT_FOUND), ("/slow", StatusCode::GATEWAY_TIMEOUT)] {
            assert_eq!(named(path, &[b"mine"]).await, (status, vec!["mine".to_owned()]));
        }
    }
}
