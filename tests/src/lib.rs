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
//! | what a customer and a key holder do, as a test does it | [`tenant`], [`exchange`] |
//! | which requests the API server answered | [`audit_log`] |
//! | `make up`, `make down`, `make demo` | [`dev`] |

pub mod access;
pub mod audit_log;
pub mod components;
pub mod control_plane;
pub mod dev;
pub mod exchange;
mod go_build;
pub mod install;
pub mod instance_dir;
pub mod keyplane_process;
pub mod kubectl;
pub mod launch;
pub mod permissions;
pub mod pki;
pub mod ports;
mod private_file;
pub mod processes;
pub mod programs;
pub mod progress;
pub mod readiness;
pub mod shared;
pub mod supervised;
pub mod tenant;
pub mod waiting;
pub mod workspace;
