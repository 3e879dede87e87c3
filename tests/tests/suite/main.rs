//! Keyplane against a real Kubernetes control plane.
//!
//! One test binary, so that all tests of a run share one control plane ([`keyplane_tests::shared`]).

mod admission;
mod control_plane;
mod main_job;
mod permissions;
mod request;
mod revocation;
