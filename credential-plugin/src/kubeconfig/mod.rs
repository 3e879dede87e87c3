//! Kubeconfigs: how this plugin's entries join one.

pub mod assembly;
pub mod conflict;
pub mod current;
pub mod destination;
pub mod document;
pub mod entries;
pub mod exec_args;
pub mod exec_section;
pub mod file;
pub mod home;
pub mod issued;
pub mod lock;
pub mod merge;
pub mod relative_paths;
pub mod shown;
pub mod text_edit;
pub mod yaml_tree;
