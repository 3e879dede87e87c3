//! `/v1/account/…`: an account's keys and namespaces, for people with an access token that the API server accepts.

mod account_query;
pub(crate) mod api_keys;
mod caller;
pub(crate) mod namespaces;

pub(crate) use account_query::AccountQuery;
pub(crate) use caller::{AccountApi, AccountCaller, failure_problem, session_problem};
