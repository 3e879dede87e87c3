//! `GET /v1/kubernetes/kubeconfig`: a kubeconfig that is ready for whoever has the key, which is not in it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use keyplane_core::api_key::{Admitted, RequiredScope};
use keyplane_core::client_address::ClientAddress;
use keyplane_core::ownership::kubernetes_name;
use keyplane_core::readiness::Status;
use keyplane_crds::Namespace;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::account::{AccountApi, AccountQuery, failure_problem};
use super::documented_problems::PersonProblems;
use super::problem::{Problem, failed, key_problem};
use crate::caller::{KeyCheck, Verb, has_api_key, presented_key};
use crate::exchange::RequestAddress;
use crate::issued_kubeconfig::{KubeconfigError, KubeconfigSettings};

/// What the surface needs.
#[derive(Clone)]
pub(crate) struct KubeconfigApi {
    /// Decides about keys.
    pub(crate) keys: Arc<KeyCheck>,
    /// Recognizes people.
    pub(crate) account: AccountApi,
    /// How users reach the cluster and Keyplane.
    pub(crate) settings: Arc<KubeconfigSettings>,
}

/// The surface's routes.
pub(crate) fn routes() -> OpenApiRouter<KubeconfigApi> {
    OpenApiRouter::new().routes(routes!(get_kubeconfig))
}

/// A kubeconfig with a context for each namespace
///
/// With a key in x-api-key: for the namespaces that it reaches. With an access token: for all namespaces of the account
/// that are ready. kubectl calls kubectl-keyplane, which takes the key from `KEYPLANE_API_KEY`; the key is not in the
/// kubeconfig.
#[utoipa::path(
    get,
    path = "/v1/kubernetes/kubeconfig",
    tag = "kubernetes",
    params(AccountQuery, ("x-keyplane-account" = Option<String>, Header, description = "The account, by name, with an access token")),
    security(("apiKey" = []), ("accessToken" = [])),
    responses(
        (status = 200, description = "The kubeconfig", body = Object, content_type = "application/yaml", headers(("content-disposition" = String, description = "Names the file `keyplane.kubeconfig`"))),
        PersonProblems,
    )
)]
async fn get_kubeconfig(
    State(api): State<KubeconfigApi>,
    Extension(RequestAddress(address)): Extension<RequestAddress>,
    query: Result<Query<AccountQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let address = address.ok();
    if has_api_key(&headers) {
        let key = presented_key(&headers);
        let required = [RequiredScope::KubernetesExec];
        let admitted = api.keys.admit(key.as_ref(), address, &required).await.map_err(key_problem)?;
        let answer = api.answer(&namespaces_of_key(&admitted))?;
        api.keys.used(&admitted, address);
        return Ok(answer);
    }
    let account = AccountQuery::account(&query);
    api.answer(&api.namespaces_of_account(&headers, account, address).await?)
}

impl KubeconfigApi {
    /// The core Namespaces of the account that a person means, those that can be used.
    async fn namespaces_of_account(
        &self,
        headers: &HeaderMap,
        account: Option<&str>,
        address: Option<ClientAddress>,
    ) -> Result<Vec<String>, Problem> {
        let caller = self.account.caller(headers, account, address).await?;
        caller.may::<Namespace>(Verb::List, None).await?;
        let found: Vec<Namespace> = caller.home.list().await.map_err(failure_problem)?;
        Ok(found.iter().filter(|namespace| is_ready(namespace)).map(kubernetes_name).collect())
    }

    fn answer(&self, namespaces: &[String]) -> Result<Response, Problem> {
        let text = match self.settings.kubeconfig(namespaces, None) {
            Ok(Some(text)) => text,
            Ok(None) => {
                return Err(not_configured(
                    "This installation does not say how users reach it: configure keyplane with --public-url",
                ));
            }
            Err(error @ KubeconfigError::UnreadableCa(_)) => {
                tracing::warn!(%error, "no kubeconfig can be made");
                return Err(not_configured(
                    "This installation's --public-ca-file cannot be read; Keyplane's log says why",
                ));
            }
            Err(KubeconfigError::Unwritable) => return Err(failed()),
        };
        let headers = [
            (CONTENT_TYPE, "application/yaml"),
            (CONTENT_DISPOSITION, "attachment; filename=\"keyplane.kubeconfig\""),
            (CACHE_CONTROL, "no-store"),
        ];
        Ok((headers, text.as_bytes().to_vec()).into_response())
    }
}

/// The core Namespaces that a key reaches now.
fn namespaces_of_key(admitted: &Admitted) -> Vec<String> {
    let reached = admitted.key.status.iter().flat_map(|status| &status.namespaces);
    reached.map(|namespace| namespace.kubernetes_name.clone()).collect()
}

fn is_ready(namespace: &Namespace) -> bool {
    let status = namespace.status.as_ref();
    namespace.metadata.deletion_timestamp.is_none()
        && status.is_some_and(|status| status.is_ready_at(namespace.metadata.generation))
}

/// Nothing that passes by itself.
fn not_configured(detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "kubeconfig_not_configured", detail)
}
