//! Keyplane against a real Kubernetes control plane.
//!
//! One test binary, so that all tests of a run share one control plane ([`keyplane_tests::shared`]).

mod admission;
mod adoption;
mod control_plane;
mod convergence;
mod exchange;
mod fault_proxy;
mod gitops;
mod hostile;
mod main_job;
mod operator_log;
mod permissions;
mod plaintext_scan;
mod poison;
mod request;
mod revocation;
mod secrets;
mod ssh_keys;
mod tls;
