//! The resources that people declare, read and written at the API server for whoever calls the HTTP API.
//!
//! Every read is the API server's own, not a watch's: what was written over HTTP is seen at once, on every replica, and by
//! `kubectl`, and the other way round.

mod failure;
mod home;
mod verdict;

pub(crate) use failure::ApiFailure;
pub(crate) use home::{Declared, Home};
pub(crate) use verdict::Awaited;
