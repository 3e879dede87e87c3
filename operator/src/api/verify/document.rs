//! `/v1/verify` in the OpenAPI document. Any method is answered; those that gateways send are documented.

use utoipa::ToSchema;
use utoipa::openapi::{HttpMethod, OpenApi, OpenApiBuilder, Paths};

use super::PATH;

/// The path of the request that is held back, behind the path that a gateway asks. It is one parameter here, and may be of
/// several segments.
const WITH_PATH: &str = "/v1/verify/{path}";

/// The methods, and what the operations are called that they make.
const METHODS: [(HttpMethod, &str); 3] =
    [(HttpMethod::Get, "verify"), (HttpMethod::Post, "verifyByPost"), (HttpMethod::Head, "verifyByHead")];

/// What can be required of a key.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "describes RequiredScope in the OpenAPI document")]
enum RequirableScope {
    All,
    Inference,
    SshKeys,
    KubernetesExec,
}

/// Whether an API key may be served, and whose it is
///
/// For gateways: nginx `auth_request`, Traefik `ForwardAuth`, Caddy `forward_auth`, Envoy `ext_authz`. Answers have no body.
#[utoipa::path(
    get,
    path = "/v1/verify",
    tag = "verification",
    params(
        ("scope" = inline(Option<Vec<RequirableScope>>), Query, description = "A scope that the key must include. May be repeated: all are required"),
        ("x-keyplane-require-scope" = inline(Option<RequirableScope>), Header, description = "The same, set by the gateway"),
    ),
    security(("apiKey" = []), ("bearer" = [])),
    responses(
        (
            status = 200, description = "The key is accepted",
            headers(
                ("x-keyplane-account" = String, description = "The key's account"),
                ("x-keyplane-key-id" = String, description = "The key's id"),
                ("x-keyplane-scope" = String, description = "The key's scope"),
            )
        ),
        (status = 400, description = "What is required is no scope, or the query holds something else"),
        (status = 401, description = "Missing, invalid, revoked, or expired API key"),
        (status = 403, description = "The key's scope does not include what is required, the key is locked, or it may not be used from this address"),
        (status = 503, description = "The key's access is being set up"),
    )
)]
#[allow(dead_code, reason = "carries the description")]
fn verify() {}

/// Whether an API key may be served, and whose it is, for a gateway that adds the path of the request it holds back
///
/// As Envoy asks. The query is that of the request which is held back, and is not looked at.
#[utoipa::path(
    get,
    path = "/v1/verify/{path}",
    tag = "verification",
    params(
        ("path" = String, Path, description = "The path of the request that is held back; it may have several segments, or none"),
        ("x-keyplane-require-scope" = inline(Option<RequirableScope>), Header, description = "A scope that the key must include, set by the gateway"),
    ),
    security(("apiKey" = []), ("bearer" = [])),
    responses(
        (
            status = 200, description = "The key is accepted",
            headers(
                ("x-keyplane-account" = String, description = "The key's account"),
                ("x-keyplane-key-id" = String, description = "The key's id"),
                ("x-keyplane-scope" = String, description = "The key's scope"),
            )
        ),
        (status = 400, description = "What is required is no scope"),
        (status = 401, description = "Missing, invalid, revoked, or expired API key"),
        (status = 403, description = "The key's scope does not include what is required, the key is locked, or it may not be used from this address"),
        (status = 503, description = "The key's access is being set up"),
    )
)]
#[allow(dead_code, reason = "carries the description")]
fn verify_path() {}

/// The surface's part of the document.
pub(super) fn document() -> OpenApi {
    let mut paths = Paths::new();
    for (method, id) in METHODS {
        let mut asked = <__path_verify as utoipa::Path>::operation();
        asked.operation_id = Some(id.to_owned());
        asked.tags = Some(vec!["verification".to_owned()]);
        paths.add_path_operation(PATH, vec![method.clone()], asked);
        let mut with_path = <__path_verify_path as utoipa::Path>::operation();
        with_path.operation_id = Some(format!("{id}Path"));
        with_path.tags = Some(vec!["verification".to_owned()]);
        paths.add_path_operation(WITH_PATH, vec![method], with_path);
    }
    OpenApiBuilder::new().paths(paths).build()
}
