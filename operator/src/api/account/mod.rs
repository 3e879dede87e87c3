//! `/v1/account/…`: an account's keys and namespaces, for people with an access token that the API server accepts.

mod caller;

pub(crate) use caller::{AccountApi, AccountCaller, failure_problem, session_problem};
