//! The process around the product: arguments, telemetry, connections, the lease, health and shutdown.

mod admin_server;
mod api_error;
mod arguments;
mod cluster_client;
mod kubeconfig;
mod lease;
mod processes;
mod reachability;
mod readiness;
mod shutdown;
mod telemetry;

pub(crate) use api_error::cause;
pub(crate) use arguments::{ApiArguments, Arguments, ForwardedHeaderName, InferenceArguments};
pub(crate) use processes::run;
pub(crate) use reachability::unanswered;
pub(crate) use shutdown::requested as shutdown_requested;
