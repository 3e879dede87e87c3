//! The documented HTTP surfaces, one file each, thin over the core and the resources.

pub(crate) mod account;
mod envoy_ext_authz;
mod json_body;
pub(crate) mod kubernetes_exec_credential;
pub(crate) mod problem;
pub(crate) mod request_id;
mod router;
mod surface;
pub(crate) mod verify;

pub(crate) use router::{Surfaces, internal_router, public_router};
pub(crate) use surface::Surface;
