//! Which surface is where: one port for the public, one beside it for gateways.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::StatusCode;
use tower_http::timeout::TimeoutLayer;
use utoipa_axum::router::OpenApiRouter;

use super::account::{AccountApi, api_keys, namespaces};
use super::inference::{self, Inference};
use super::kubernetes_exec_credential::{self, Exchange};
use super::kubernetes_kubeconfig::{self, KubeconfigApi};
use super::ssh_keys::SshKeyApi;
use super::surface::Surface;
use super::{envoy_ext_authz, gpu_cloud_ssh_keys, panel_ssh_keys, problem, verify};
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

    /// The surfaces that are in the `OpenAPI` document.
    fn documented(&self) -> OpenApiRouter {
        let mut router = OpenApiRouter::new();
        if self.serves(Surface::Account) {
            router = router.merge(api_keys::routes(self.account.clone(), self.keys.clone()));
            router = router.merge(namespaces::routes(self.account.clone()));
        }
        if self.serves(Surface::Kubeconfig) {
            router = router.merge(kubernetes_kubeconfig::routes(KubeconfigApi {
                keys: self.keys.clone(),
                account: self.account.clone(),
                settings: self.kubeconfigs.clone(),
            }));
        }
        let ssh_keys = Arc::new(SshKeyApi { keys: self.keys.clone(), account: self.account.clone() });
        if self.serves(Surface::PanelSshKeys) {
            router = router.merge(panel_ssh_keys::routes(ssh_keys.clone()));
        }
        if self.serves(Surface::GpuCloudSshKeys) {
            router = router.merge(gpu_cloud_ssh_keys::routes(ssh_keys));
        }
        let mut router = router.layer(request_limit());
        // What is passed on takes as long as the service behind it may, and has a limit of its own.
        if self.serves(Surface::Inference) {
            router = router.merge(inference::routes(self.inference.clone()));
        }
        router
    }
}

fn request_limit() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, REQUEST_LIMIT)
}

/// The public port.
pub(crate) fn public_router(surfaces: &Surfaces) -> Router {
    let (mut router, _) = surfaces.documented().split_for_parts();
    if surfaces.serves(Surface::Exchange) {
        router = router
            .merge(kubernetes_exec_credential::routes(surfaces.exchange.clone()).layer(request_limit()));
    }
    if surfaces.serves(Surface::Verify) {
        router = router.merge(verify::routes(surfaces.keys.clone()).layer(request_limit()));
    }
    router.fallback(problem::not_found).method_not_allowed_fallback(problem::method_not_allowed)
}

/// The port for gateways beside Keyplane: verification alone, over HTTP and gRPC.
pub(crate) fn internal_router(surfaces: &Surfaces) -> Router {
    let over_grpc = envoy_ext_authz::routes(surfaces.keys.clone(), surfaces.forwarding.clone());
    verify::routes(surfaces.keys.clone()).merge(over_grpc).layer(request_limit()).fallback(problem::not_found)
}
