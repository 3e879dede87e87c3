//! Laws that hold for any bytes, for libFuzzer to look for a breach.

pub mod key_format;
pub mod ssh_public_key;
