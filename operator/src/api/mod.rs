//! The documented HTTP surfaces, one file each, thin over the core.

pub(crate) mod kubernetes_exec_credential;
pub(crate) mod problem;
