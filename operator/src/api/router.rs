//! Which surface is where: one port for the public, one beside it for gateways.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use utoipa_axum::router::OpenApiRouter;

use super::account::AccountApi;
use super::kubernetes_exec_credential::{self, Exchange};
use super::surface::Surface;
use super::{envoy_ext_authz, problem, verify};
use crate::caller::KeyCheck;
use crate::exchange::Forwarding;

/// What the surfaces need, and which of them are served.
pub(crate) struct Surfaces {
    /// Decides about keys.
    pub(crate) keys: Arc<KeyCheck>,
    /// Swaps keys for tokens.
    pub(crate) exchange: Arc<Exchange>,
    /// Serves people.
    pub(crate) account: AccountApi,
    /// Whose word about a client's address is taken.
    pub(crate) forwarding: Forwarding,
    /// What an installation does without.
    pub(crate) disabled: BTreeSet<Surface>,
}

impl Surfaces {
    fn serves(&self, surface: Surface) -> bool {
        !self.disabled.contains(&surface)
    }

    /// The surfaces that are in the OpenAPI document.
    fn documented(&self) -> OpenApiRouter {
        OpenApiRouter::new()
    }
}

/// The public port.
pub(crate) fn public_router(surfaces: &Surfaces) -> Router {
    let (mut router, _) = surfaces.documented().split_for_parts();
    if surfaces.serves(Surface::Exchange) {
        router = router.merge(kubernetes_exec_credential::routes(surfaces.exchange.clone()));
    }
    if surfaces.serves(Surface::Verify) {
        router = router.merge(verify::routes(surfaces.keys.clone()));
    }
    router.fallback(problem::not_found).method_not_allowed_fallback(problem::method_not_allowed)
}

/// The port for gateways beside Keyplane: verification alone, over HTTP and gRPC.
pub(crate) fn internal_router(surfaces: &Surfaces) -> Router {
    let over_grpc = envoy_ext_authz::routes(surfaces.keys.clone(), surfaces.forwarding.clone());
    verify::routes(surfaces.keys.clone()).merge(over_grpc).fallback(problem::not_found)
}
