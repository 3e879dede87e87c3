//! Laws that hold for any bytes, for libFuzzer to look for a breach.

pub mod answer;
pub mod exchange_address;
pub mod exec_info;
pub mod key_format;
pub mod ssh_public_key;
pub mod token_cache;
mod told;
