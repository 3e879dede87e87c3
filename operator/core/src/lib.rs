//! Keyplane's rules as pure functions: no network, no files, no clock, no randomness of its own.

pub mod key_format;
