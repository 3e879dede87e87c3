//! The query that every account route takes.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;
use utoipa::IntoParams;

/// Which account is meant.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AccountQuery {
    /// The account, by name: for whoever owns several, or owns none and has rights in one. The header x-keyplane-account
    /// says the same.
    account: Option<String>,
}

impl AccountQuery {
    /// The account that a query names. One that cannot be read, because it names two, perhaps, names what can be no
    /// account: that is told to those who may know it, which is decided before the query is looked at.
    pub(crate) fn account(query: &Result<Query<Self>, QueryRejection>) -> Option<&str> {
        match query {
            Ok(Query(query)) => query.account.as_deref(),
            Err(_) => Some(""),
        }
    }
}
