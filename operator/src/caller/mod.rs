//! Who calls, and what they may: an API key, or somebody with an access token that the API server accepts.
//!
//! Nothing is decided here that RBAC or the core does not decide: a key by its own object, anybody else by a
//! `SubjectAccessReview` in the account's home namespace.

mod account_choice;
mod api_key;
mod authorization;
mod credential;
mod session;

pub(crate) use account_choice::{AccountChoice, NoAccount};
pub(crate) use api_key::{KeyCheck, KeyRefused};
pub(crate) use authorization::{Authorizer, Verb};
pub(crate) use credential::{API_KEY, Credential, api_key_header, bearer, has_api_key, presented_key};
pub(crate) use session::{NoSession, Sessions, User};
