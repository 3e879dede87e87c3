//! Which surface is where: one port for the public, one beside it for gateways.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, middleware};
use http::StatusCode;
use tower_http::timeout::TimeoutLayer;
use utoipa::openapi::{OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;

use super::account::api_keys::ApiKeys;
use super::account::{AccountApi, api_keys, namespaces};
use super::inference::{self, Inference};
use super::kubernetes_exec_credential::{self, Exchange};
use super::kubernetes_kubeconfig::{self, KubeconfigApi};
use super::ssh_keys::SshKeyApi;
use super::surface::Surface;
use super::{
    envoy_ext_authz, framework_problem, gpu_cloud_ssh_keys, openapi, panel_ssh_keys, problem, verify, whoami,
};
use crate::caller::KeyCheck;
use crate::exchange::Forwarding;
use crate::issued_kubeconfig::KubeconfigSettings;

/// How long a request may take that is answered here: minting's ten seconds and a little.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);

/// What the surfaces need, and which of them are served.
pub(crate) struct Surfaces {
    /// Decides about keys.
    pub(crate) keys: Arc<KeyCheck>,
    /// Swaps keys for tokens.
    pub(crate) exchange: Arc<Exchange>,
    /// Serves people.
    pub(crate) account: AccountApi,
    /// How users reach the cluster and Keyplane.
    pub(crate) kubeconfigs: Arc<KubeconfigSettings>,
    /// Passes on to the inference service.
    pub(crate) inference: Arc<Inference>,
    /// Whose word about a client's address is taken.
    pub(crate) forwarding: Forwarding,
    /// What an installation does without.
    pub(crate) disabled: BTreeSet<Surface>,
}

impl Surfaces {
    fn serves(&self, surface: Surface) -> bool {
        !self.disabled.contains(&surface)
    }

    fn ssh_keys(&self) -> Arc<SshKeyApi> {
        Arc::new(SshKeyApi { keys: self.keys.clone(), account: self.account.clone() })
    }
}

/// Is shown every surface, with its routes and how its state is made.
trait Visitor {
    /// Is shown one surface.
    fn visit<S: Clone + Send + Sync + 'static>(
        &mut self,
        surface: Surface,
        routes: OpenApiRouter<S>,
        state: impl FnOnce(&Surfaces) -> S,
    );
}

/// Shows every surface of the public port.
fn visit_all(visitor: &mut impl Visitor) {
    visitor.visit(Surface::Account, api_keys::routes(), |surfaces| ApiKeys {
        account: surfaces.account.clone(),
        keys: surfaces.keys.clone(),
    });
    visitor.visit(Surface::Account, namespaces::routes(), |surfaces| surfaces.account.clone());
    visitor.visit(Surface::Kubeconfig, kubernetes_kubeconfig::routes(), |surfaces| KubeconfigApi {
        keys: surfaces.keys.clone(),
        account: surfaces.account.clone(),
        settings: surfaces.kubeconfigs.clone(),
    });
    visitor
        .visit(Surface::Exchange, kubernetes_exec_credential::routes(), |surfaces| surfaces.exchange.clone());
    visitor.visit(Surface::Exchange, whoami::routes(), |surfaces| surfaces.keys.clone());
    visitor.visit(Surface::Verify, verify::routes(), |surfaces| surfaces.keys.clone());
    visitor.visit(Surface::PanelSshKeys, panel_ssh_keys::routes(), Surfaces::ssh_keys);
    visitor.visit(Surface::GpuCloudSshKeys, gpu_cloud_ssh_keys::routes(), Surfaces::ssh_keys);
    visitor.visit(Surface::Inference, inference::routes(), |surfaces| surfaces.inference.clone());
}

/// Puts those together that are served.
struct Serving<'a> {
    surfaces: &'a Surfaces,
    router: OpenApiRouter,
}

impl Visitor for Serving<'_> {
    fn visit<S: Clone + Send + Sync + 'static>(
        &mut self,
        surface: Surface,
        routes: OpenApiRouter<S>,
        state: impl FnOnce(&Surfaces) -> S,
    ) {
        if !self.surfaces.serves(surface) {
            return;
        }
        let routes = match surface {
            // What is passed on takes as long as the service behind it may, and has a limit of its own.
            Surface::Inference => routes,
            _ => routes.layer(request_limit()),
        };
        let before = std::mem::take(&mut self.router);
        self.router = before.merge(routes.with_state(state(self.surfaces)));
    }
}

/// Reads what all of them say of themselves.
struct Reading(OpenApi);

impl Visitor for Reading {
    fn visit<S: Clone + Send + Sync + 'static>(
        &mut self,
        _: Surface,
        routes: OpenApiRouter<S>,
        _: impl FnOnce(&Surfaces) -> S,
    ) {
        self.0.merge(routes.into_openapi());
    }
}

fn request_limit() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, REQUEST_LIMIT)
}

/// The OpenAPI document of every surface, those that an installation switches off included.
pub(crate) fn document() -> OpenApi {
    let mut reading = Reading(OpenApiBuilder::new().build());
    visit_all(&mut reading);
    reading.0.merge(openapi::routes().into_openapi());
    openapi::completed(reading.0)
}

/// The public port.
///
/// # Errors
/// When the OpenAPI document cannot be written.
pub(crate) fn public_router(surfaces: &Surfaces) -> anyhow::Result<Router> {
    let mut serving = Serving { surfaces, router: OpenApiRouter::default() };
    visit_all(&mut serving);
    let (router, mut served) = serving.router.split_for_parts();
    let (document, own) = openapi::routes().split_for_parts();
    served.merge(own);
    let served = openapi::Served::of(&openapi::completed(served))?;
    Ok(router
        .merge(document.with_state(served))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(middleware::from_fn(framework_problem::as_problems)))
}

/// The port for gateways beside Keyplane: verification alone, over HTTP and gRPC.
pub(crate) fn internal_router(surfaces: &Surfaces) -> Router {
    let over_grpc = envoy_ext_authz::routes(surfaces.keys.clone(), surfaces.forwarding.clone());
    let over_http = Router::from(verify::routes()).with_state(surfaces.keys.clone());
    over_http.merge(over_grpc).layer(request_limit()).fallback(problem::not_found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The paths of all routes, as axum knows them.
    struct Paths(BTreeSet<String>);

    impl Visitor for Paths {
        fn visit<S: Clone + Send + Sync + 'static>(
            &mut self,
            _: Surface,
            routes: OpenApiRouter<S>,
            _: impl FnOnce(&Surfaces) -> S,
        ) {
            // A router tells its paths nowhere else: `RouteId(1): "/v1/verify"`.
            let told = format!("{:?}", Router::from(routes));
            // What follows is of the fallback.
            let told = told.split("fallback_router").next().unwrap_or_default();
            let paths = told.split('"').filter(|text| text.starts_with('/'));
            self.0.extend(paths.map(ToOwned::to_owned));
        }
    }

    #[test]
    fn every_path_that_is_served_is_in_the_document_and_no_other() {
        let mut paths = Paths(BTreeSet::new());
        visit_all(&mut paths);
        paths.0.insert("/openapi.json".to_owned());
        // A wildcard has no form in a document, and no segment behind a slash is the path without it.
        let served: BTreeSet<String> =
            paths.0.into_iter().map(|path| path.trim_end_matches('/').replace("{*", "{")).collect();
        let documented: BTreeSet<String> = document().paths.paths.into_keys().collect();
        assert_eq!(served, documented);
    }
}
