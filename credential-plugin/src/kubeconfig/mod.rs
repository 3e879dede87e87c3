//! Kubeconfigs: how this plugin's entries join one.

pub mod merge;
