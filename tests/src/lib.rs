//! Keyplane against a real Kubernetes control plane, and the harness that provides one.
//!
//! | what you look for | where |
//! | --- | --- |
//! | which etcd, kube-apiserver and kubectl are used, and how they are built | [`programs`] |
//! | how a control plane starts, and its administrator's access | [`control_plane`], [`access`], [`kubectl`] |
//! | what its programs are started with | [`components`], [`pki`] |
//! | why no process and no directory is left behind | [`supervised`], [`instance_dir`], `tests/cluster/supervise` |
//! | the control plane and the Keyplane that the tests of a run share | [`shared`] |
//! | how Keyplane is installed and with which identities it runs | [`install`], [`keyplane_process`] |
//! | what Keyplane, its keys and account owners may do, as the manifests say it | [`permissions`] |
//! | what a customer and a key holder do, as a test does it | [`tenant`], [`exchange`], [`http_api`] |
//! | which requests the API server answered | [`audit_log`] |
//! | killing Keyplane between any two of its writes | [`fault_proxy`], [`crash_points`] |
//! | that no key or token is left anywhere after a run | [`test_run`], [`plaintext_registry`], [`plaintext_scan`] |
//! | a Redis of a test's own | [`redis`] |
//! | nginx, Caddy, Envoy and Traefik that ask Keyplane about keys | [`gateways`] |
//! | programs that come from Python's registry | [`python_packages`] |
//! | `make up`, `make down`, `make demo` | [`dev`] |

pub mod access;
pub mod audit_log;
pub mod components;
pub mod control_plane;
pub mod crash_points;
pub mod dev;
mod etcd_scan;
pub mod exchange;
pub mod fault_proxy;
pub mod gateways;
mod go_build;
pub mod http_api;
pub mod install;
pub mod instance_dir;
pub mod keyplane_process;
pub mod kubectl;
pub mod launch;
mod metrics_record;
pub mod permissions;
pub mod pki;
pub mod plaintext_registry;
pub mod plaintext_scan;
pub mod ports;
mod private_file;
pub mod processes;
pub mod programs;
pub mod progress;
pub mod python_packages;
pub mod readiness;
pub mod redis;
mod reserved_space;
pub mod shared;
pub mod supervised;
pub mod tenant;
pub mod test_run;
pub mod waiting;
pub mod workspace;
