//! Keyplane against a real Kubernetes control plane.
//!
//! One test binary, so that all tests of a run share one control plane ([`keyplane_tests::shared`]).

#![allow(clippy::indexing_slicing, reason = "a test that looks at what is not there fails")]

mod account_api_keys;
mod account_namespaces;
mod addresses;
mod admission;
mod adoption;
mod agreement;
mod audit;
mod authorization_matrix;
mod control_plane;
mod convergence;
mod crashes;
mod credential_plugin;
mod delivery;
mod doctor;
mod exchange;
mod expiry;
mod fault_proxy;
mod gateways;
mod gitops;
mod gpu_cloud_ssh_keys;
mod hostile;
mod inference;
mod kubeconfig_api;
mod limits;
mod locks;
mod main_job;
mod openapi;
mod operations;
mod operator_log;
mod panel_ssh_keys;
mod permissions;
mod plaintext_scan;
mod poison;
mod replicas;
mod request;
mod revocation;
mod rotation;
mod secrets;
mod ssh_key_api;
mod ssh_keys;
mod story;
mod terminal;
mod tls;
mod tombstones;
mod usage;
mod verify;
mod whoami;
