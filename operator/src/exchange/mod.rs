//! The exchange: an API key in, a short-lived cluster token out.

mod key_index;
mod server;
mod tls;
mod token;

pub(crate) use key_index::KeyIndex;
pub(crate) use server::serve;
pub(crate) use token::{Token, TokenError, TokenIssuer};
