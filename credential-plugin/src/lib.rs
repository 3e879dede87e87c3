//! `kubectl-keyplane`: swaps an API key for a short-lived cluster token, as a Kubernetes exec credential plugin.
//!
//! The warm path (a token is in the cache) reads a key and a file and prints: it builds no TLS client and parses no
//! YAML. Each module holds one rule; [`cli`] says what can be asked, [`failure`] how it can fail.

pub mod argument_values;
pub mod bounded_read;
pub mod cli;
pub mod commands;
pub mod confirmation;
pub mod core_dump;
pub mod doctor;
pub mod environment;
pub mod exchange;
pub mod exec_protocol;
pub mod failure;
pub mod field_digest;
pub mod hidden_prompt;
pub mod key_source;
pub mod kubeconfig;
pub mod kubectl;
pub mod new_key;
pub mod output;
pub mod private_file;
pub mod relative_time;
pub mod resources;
pub mod secret_json;
pub mod secret_text;
pub mod sign_of_life;
pub mod target;
pub mod token;
pub mod typed_command;
pub mod verbose;
pub mod visible_text;
pub mod wait;
