//! The documented HTTP surfaces, one file each, thin over the core and the resources.

pub(crate) mod account;
mod documented_problems;
mod envoy_ext_authz;
mod framework_problem;
pub(crate) mod gpu_cloud_ssh_keys;
pub(crate) mod inference;
mod json_body;
pub(crate) mod kubernetes_exec_credential;
mod kubernetes_kubeconfig;
mod no_store;
mod openapi;
pub(crate) mod panel_ssh_keys;
pub(crate) mod problem;
pub(crate) mod request_id;
mod router;
pub(crate) mod ssh_keys;
mod surface;
mod to_its_end;
pub(crate) mod unread_body;
pub(crate) mod verify;
mod whoami;

pub(crate) use router::{Surfaces, document, internal_router, public_router};
pub(crate) use surface::Surface;
