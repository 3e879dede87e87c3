//! The OpenAPI 3.1 document of the HTTP API, made from the handlers, and `GET /openapi.json`, which serves it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use anyhow::Context;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::info::{InfoBuilder, LicenseBuilder};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, Header, ObjectBuilder, OpenApi, RefOr, ResponseBuilder, Type};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;

/// What every reader should know first.
const DESCRIPTION: &str = "\
An account access plane for Kubernetes: API keys, namespaces, kubeconfigs and SSH keys of an account, and the verification of \
keys for gateways. Everything is a Kubernetes resource too: what is done here is what `kubectl` shows, and the other way round.

Errors under `/v1` are `application/problem+json` (RFC 9457) with a stable `code`; those of `/v1/verify` are a status alone, and \
those of the SSH key surfaces have forms of their own. Every answer names its request in `x-request-id`, the client's own name \
where it sent one. Requests have 64 kB at most, and 15 seconds, but for inference. An installation may leave surfaces out.";

/// The surfaces, by the tag of their operations.
const TAGS: [(&str, &str); 8] = [
    ("api keys", "An account's API keys, for people with an access token"),
    ("namespaces", "An account's namespaces, whose ids a key's scope takes"),
    ("kubernetes", "Cluster tokens and kubeconfigs for the holders of API keys"),
    ("verification", "Whether a key may be served, for gateways"),
    ("inference", "The inference service, for keys whose scope includes it"),
    ("SSH keys (panel)", "An account's SSH keys, for API keys and people"),
    ("GPUCloudSSHKeys", "An account's SSH keys, for API keys, with a default one"),
    ("contract", "This document"),
];

/// The statuses whose answers may say when it is worth to try again.
const PASSING: [&str; 3] = ["409", "429", "503"];

/// The document that an installation serves.
#[derive(Clone)]
pub(crate) struct Served {
    text: Bytes,
    tag: HeaderValue,
}

impl Served {
    /// What is served of a document.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub(crate) fn of(document: &OpenApi) -> anyhow::Result<Arc<Self>> {
        let text = document.to_json().context("the OpenAPI document cannot be written")?;
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let tag = HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish()))?;
        Ok(Arc::new(Self { text: text.into(), tag }))
    }
}

/// The route of the document.
pub(crate) fn routes() -> OpenApiRouter<Arc<Served>> {
    OpenApiRouter::new().routes(routes!(get_document))
}

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "contract",
    operation_id = "get_openapi",
    params(("if-none-match" = Option<String>, Header, description = "The `etag` of the document that the client has")),
    responses(
        (status = 200, description = "The document", content_type = "application/json", body = Object, headers(("etag" = String, description = "Names this state of the document"))),
        (status = 304, description = "It is the one that the client has", headers(("etag" = String, description = "Names this state of the document"))),
    )
)]
async fn get_document(State(served): State<Arc<Served>>, headers: HeaderMap) -> Response {
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    let tag = served.tag.clone();
    let is_known = known.any(|known| known == "*" || known.as_bytes() == tag.as_bytes());
    // Kept by whoever likes, and asked about each time: an update must not go unseen.
    let caching = [(ETAG, tag), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if is_known {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let content = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (caching, content, served.text.clone()).into_response()
}

/// The whole document out of the surfaces' own parts: what is said once for all of them is added.
pub(crate) fn completed(surfaces: OpenApi) -> OpenApi {
    let mut document = surfaces;
    document.info = InfoBuilder::new()
        .title("Keyplane")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    let operations = || document.paths.paths.values().flat_map(operations_of);
    let is_used = |tag: &str| operations().flat_map(|one| one.tags.iter().flatten()).any(|used| used == tag);
    let used = TAGS.into_iter().filter(|(tag, _)| is_used(tag));
    let tags = used.map(|(tag, text)| TagBuilder::new().name(tag).description(Some(text)).build()).collect();
    document.tags = Some(tags);
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    for (name, scheme) in security_schemes() {
        components.add_security_scheme(name, scheme);
    }
    for operation in document.paths.paths.values_mut().flat_map(operations_of_mut) {
        complete(operation);
    }
    document
}

fn security_schemes() -> [(&'static str, SecurityScheme); 3] {
    let key = ApiKeyValue::with_description("x-api-key", "An API key of an account");
    let bearer = |text: &str| {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(text));
        SecurityScheme::Http(scheme.build())
    };
    [
        ("apiKey", SecurityScheme::ApiKey(ApiKey::Header(key))),
        (
            "accessToken",
            bearer(
                "A person's access token, as the cluster's API server accepts it: of its OIDC issuer, or a ServiceAccount's",
            ),
        ),
        ("bearer", bearer("An API key, or, where people are served, an access token")),
    ]
}

/// Adds what holds for every operation.
fn complete(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    // The time limit is around all of them; surfaces of another form than `/v1` answer it with a bare status.
    responses
        .entry("504".to_owned())
        .or_insert_with(|| ResponseBuilder::new().description("No answer in time").build().into());
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        let mut header = |name: &str, text: &str, type_, is_required| {
            response
                .headers
                .entry(name.to_owned())
                .or_insert_with(|| header(text, type_, is_required).into());
        };
        header("x-request-id", "Names the request", Type::String, true);
        if PASSING.contains(&status.as_str()) {
            header(
                "retry-after",
                "After how many seconds it is worth to try again, where that is known",
                Type::Integer,
                false,
            );
        }
        for (name, header) in &mut response.headers {
            // What a handler promises to send, it sends each time.
            if let RefOr::T(header) = header
                && name != "retry-after"
            {
                header.extensions = Some(required());
            }
        }
    }
}

fn header(text: &str, type_: Type, is_required: bool) -> Header {
    let schema = ObjectBuilder::new().schema_type(type_).build();
    let mut header = HeaderBuilder::new().schema(Some(schema)).description(Some(text)).build();
    header.extensions = is_required.then(required);
    header
}

/// `required: true`, for which a header has no field.
fn required() -> Extensions {
    [("required", true)].into_iter().collect()
}

fn operations_of(item: &PathItem) -> impl Iterator<Item = &Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
}

fn operations_of_mut(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::Router;
    use axum::body::{Body, to_bytes};
    use http::Request;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;
    use crate::api::document;

    /// Every operation: its path, its method, and what the document says of it.
    fn operations(document: &Value) -> impl Iterator<Item = (&String, &String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        paths.iter().flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, operation)| (path, method, operation))
        })
    }

    fn whole() -> Value {
        serde_json::to_value(document()).unwrap()
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_a_known_tag_and_a_credential() {
        let document = whole();
        assert_eq!(document["openapi"], "3.1.0");
        let tags: BTreeSet<&str> =
            document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
        assert_eq!(tags.len(), TAGS.len());
        let mut names = BTreeSet::new();
        for (path, method, operation) in operations(&document) {
            let what = format!("{method} {path}");
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{what}");
            assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{what}");
            let own = operation["tags"].as_array().unwrap();
            assert!(own.len() == 1 && tags.contains(own[0].as_str().unwrap()), "{what}: {own:?}");
            let security = operation["security"].as_array();
            assert_eq!(security.is_none_or(Vec::is_empty), path == "/openapi.json", "{what}");
            for (name, _) in security.into_iter().flatten().flat_map(|one| one.as_object().unwrap()) {
                assert!(document["components"]["securitySchemes"][name].is_object(), "{what}: {name}");
            }
        }
    }

    #[test]
    fn every_answer_names_its_request_and_every_error_under_v1_is_a_problem() {
        let document = whole();
        for (path, method, operation) in operations(&document) {
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let what = format!("{method} {path} {status}");
                assert_eq!(answer["headers"]["x-request-id"]["required"], true, "{what}");
                assert_eq!(
                    answer["headers"]["retry-after"].is_object(),
                    PASSING.contains(&&**status),
                    "{what}"
                );
                let is_error = status.starts_with(['4', '5']);
                if is_error && path.starts_with("/v1") && !path.starts_with("/v1/verify") {
                    let schema = &answer["content"]["application/problem+json"]["schema"]["$ref"];
                    assert_eq!(schema, "#/components/schemas/Problem", "{what}");
                }
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str).map(ToOwned::to_owned));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = whole();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[tokio::test]
    async fn who_has_the_document_is_not_sent_it_again() {
        let router: Router = Router::from(routes()).with_state(Served::of(&document()).unwrap());
        let answer = async |known: Option<&str>| {
            let mut request = Request::builder().uri("/openapi.json");
            if let Some(known) = known {
                request = request.header(IF_NONE_MATCH, known);
            }
            router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
        };
        let first = answer(None).await;
        assert_eq!(
            (first.status(), &first.headers()[CONTENT_TYPE]),
            (StatusCode::OK, &"application/json".parse().unwrap())
        );
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        let body = to_bytes(first.into_body(), usize::MAX).await.unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), whole());
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = answer(Some(&known)).await;
            assert_eq!(
                (again.status(), &again.headers()[ETAG]),
                (StatusCode::NOT_MODIFIED, &tag.parse().unwrap())
            );
            assert!(to_bytes(again.into_body(), 1).await.unwrap().is_empty());
        }
        assert_eq!(answer(Some("\"other\"")).await.status(), StatusCode::OK);
    }
}
