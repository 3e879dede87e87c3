//! The commands, one file each: their arguments, their help, and the order of their steps.

pub mod apikeys;
pub mod completion;
pub mod doctor;
pub mod generate;
pub mod get_token;
pub mod kubeconfig;
pub mod login;
pub mod logout;
pub mod reveal;
pub mod ssh_key;
pub mod whoami;
