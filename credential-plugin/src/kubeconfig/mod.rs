//! Kubeconfigs: how this plugin's entries join one.

pub mod current;
pub mod merge;
