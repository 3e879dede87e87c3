//! The exchange: an API key in, a short-lived cluster token out.

mod address_block;
mod connections;
mod failed_authentications;
mod guarded_stream;
mod held_token;
mod key_index;
mod known_digests;
mod peer;
mod proxy_protocol;
mod server;
mod tls;
mod token;
mod token_review;

pub(crate) use failed_authentications::FailedAuthentications;
pub(crate) use held_token::HeldTokens;
pub(crate) use key_index::{Identity, KeyIndex};
pub(crate) use known_digests::Named;
pub(crate) use peer::{Forwarding, RequestAddress};
pub(crate) use proxy_protocol::Peer;
pub(crate) use server::serve;
pub(crate) use token::{Token, TokenError, TokenIssuer};
pub(crate) use token_review::TokenReviews;
