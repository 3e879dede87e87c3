//! The process around the product: arguments, telemetry, connections, the lease, health and shutdown.

mod admin_server;
mod arguments;
mod cluster_client;
mod lease;
mod processes;
mod shutdown;
mod telemetry;

pub(crate) use arguments::{ApiArguments, Arguments};
pub(crate) use processes::run;
