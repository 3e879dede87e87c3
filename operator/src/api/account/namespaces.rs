//! `/v1/account/namespaces`: the namespaces of an account, whose ids a key's scope takes (seed 003).

mod creation;
mod view;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use keyplane_core::audit::RequestedChange;
use keyplane_crds::Namespace;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::view::{NamespaceList, NamespaceView, NewNamespace};
use super::account_query::AccountQuery;
use super::caller::{AccountApi, failure_problem};
use crate::api::documented_problems::{BodyProblems, PersonProblems};
use crate::api::json_body::json_of_request;
use crate::api::no_store::no_store;
use crate::api::problem::Problem;
use crate::api::to_its_end::to_its_end;
use crate::caller::Verb;
use crate::exchange::RequestAddress;

/// The surface's routes.
pub(crate) fn routes() -> OpenApiRouter<AccountApi> {
    OpenApiRouter::new()
        .routes(routes!(list_namespaces, create_namespace))
        .routes(routes!(get_namespace, delete_namespace))
}

/// The account's namespaces, the oldest first
#[utoipa::path(
    get,
    path = "/v1/account/namespaces",
    tag = "namespaces",
    params(AccountQuery, ("x-keyplane-account" = Option<String>, Header, description = "The account, by name")),
    security(("accessToken" = [])),
    responses(
        (status = 200, description = "The namespaces", body = NamespaceList),
        PersonProblems,
    )
)]
async fn list_namespaces(
    State(api): State<AccountApi>,
    Extension(RequestAddress(address)): Extension<RequestAddress>,
    query: Result<Query<AccountQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.caller(&headers, AccountQuery::account(&query), address.ok()).await?;
    caller.may::<Namespace>(Verb::List, None).await?;
    let found: Vec<Namespace> = caller.home.list().await.map_err(failure_problem)?;
    Ok(no_store(Json(NamespaceList { data: found.iter().map(NamespaceView::of).collect() })))
}

/// Makes a namespace and waits a moment until it can be used
#[utoipa::path(
    post,
    path = "/v1/account/namespaces",
    tag = "namespaces",
    params(AccountQuery, ("x-keyplane-account" = Option<String>, Header, description = "The account, by name")),
    security(("accessToken" = [])),
    request_body = NewNamespace,
    responses(
        (
            status = 201, description = "It is made: `ready`, or `pending` where that takes longer", body = NamespaceView,
            headers(("location" = String, description = "Where it is"))
        ),
        (status = 404, description = "There is no such account", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The name is taken, or the account has as many namespaces as it may", body = Problem, content_type = "application/problem+json"),
        PersonProblems,
        BodyProblems,
    )
)]
async fn create_namespace(
    State(api): State<AccountApi>,
    Extension(RequestAddress(address)): Extension<RequestAddress>,
    query: Result<Query<AccountQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    // What is one too many goes again, whether the client waits for it or not.
    let made = to_its_end(async move {
        let caller = api.caller(&headers, AccountQuery::account(&query), address.ok()).await?;
        caller.may::<Namespace>(Verb::Create, None).await?;
        let wanted: NewNamespace = json_of_request(body)?;
        creation::create(&caller, &wanted.name).await
    });
    let made = NamespaceView::of(&made.await?);
    let location = HeaderValue::try_from(format!("/v1/account/namespaces/{}", made.id));
    let mut response = (StatusCode::CREATED, no_store(Json(made))).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// One namespace
#[utoipa::path(
    get,
    path = "/v1/account/namespaces/{namespace_id}",
    tag = "namespaces",
    params(
        ("namespace_id" = String, Path, description = "The namespace's id"),
        AccountQuery,
        ("x-keyplane-account" = Option<String>, Header, description = "The account, by name"),
    ),
    security(("accessToken" = [])),
    responses(
        (status = 200, description = "The namespace", body = NamespaceView),
        (status = 404, description = "The account has no such namespace", body = Problem, content_type = "application/problem+json"),
        PersonProblems,
    )
)]
async fn get_namespace(
    State(api): State<AccountApi>,
    Extension(RequestAddress(address)): Extension<RequestAddress>,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<AccountQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.caller(&headers, AccountQuery::account(&query), address.ok()).await?;
    let found: Namespace = caller.find(&text_of(id), Verb::Get, absent).await?;
    Ok(no_store(Json(NamespaceView::of(&found))))
}

/// Deletes a namespace with everything in it
#[utoipa::path(
    delete,
    path = "/v1/account/namespaces/{namespace_id}",
    tag = "namespaces",
    params(
        ("namespace_id" = String, Path, description = "The namespace's id"),
        AccountQuery,
        ("x-keyplane-account" = Option<String>, Header, description = "The account, by name"),
    ),
    security(("accessToken" = [])),
    responses(
        (status = 204, description = "It is being deleted"),
        (status = 404, description = "The account has no such namespace", body = Problem, content_type = "application/problem+json"),
        PersonProblems,
    )
)]
async fn delete_namespace(
    State(api): State<AccountApi>,
    Extension(RequestAddress(address)): Extension<RequestAddress>,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<AccountQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let caller = api.caller(&headers, AccountQuery::account(&query), address.ok()).await?;
    let found: Namespace = caller.find(&text_of(id), Verb::Delete, absent).await?;
    caller.record(RequestedChange::DeleteNamespace, &found.metadata).await?;
    caller.home.delete(&found).await.map_err(failure_problem)?;
    Ok(StatusCode::NO_CONTENT)
}

/// An id as it was given. One that is no text is nobody's.
fn text_of(id: Result<Path<String>, PathRejection>) -> String {
    id.map(|Path(id)| id).unwrap_or_default()
}

fn absent() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "namespace_not_found", "Namespace not found")
}
