//! `kubectl-keyplane`: swaps an API key for a short-lived cluster token, as a Kubernetes exec credential plugin.
//!
//! The warm path (a token is in the cache) reads a key and a file and prints: it builds no TLS client and parses no
//! YAML. Each module holds one rule; [`cli`] says what can be asked, [`failure`] how it can fail.

pub mod allowed_exchange;
pub mod answer;
pub mod cache_folder;
pub mod cli;
pub mod environment;
pub mod exchange_address;
pub mod exchange_client;
pub mod exec_protocol;
pub mod failure;
pub mod generate;
pub mod get_token;
pub mod hand_out;
pub mod key_source;
pub mod kubeconfig;
pub mod kubeconfig_merge;
pub mod private_file;
pub mod retry_rule;
pub mod secret_text;
pub mod token;
pub mod token_cache;
pub mod token_life;
