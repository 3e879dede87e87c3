//! What stands behind the path: which page, how long, whose.

use axum::extract;
use axum::extract::rejection::QueryRejection;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::PanelError;

/// Items on a page where the query does not say, and the most that it may ask for (seed 002).
const DEFAULT_LIMIT: u64 = 50;
const LARGEST_LIMIT: u64 = 100;

/// The query as it came.
pub(super) type AskedQuery = Result<extract::Query<Query>, QueryRejection>;

/// The query. Fields that are not known here are not looked at; one that is there twice is ambiguous.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// The page number to retrieve (minimum: 1).
    #[param(value_type = u64, required = false, minimum = 1, default = 1)]
    page: Option<String>,
    /// Number of items per page (minimum: 1, maximum: 100).
    #[param(value_type = u64, required = false, minimum = 1, maximum = 100, default = 50)]
    limit: Option<String>,
    /// For people who own several accounts: which one is meant.
    #[param(required = false)]
    account: Option<String>,
}

impl Query {
    /// The account that a query names; a query that cannot be used names what can be no account.
    pub(super) fn account(asked: &AskedQuery) -> Option<&str> {
        match asked {
            Ok(extract::Query(query)) => query.account.as_deref(),
            Err(_) => Some(""),
        }
    }

    /// The query, for whoever may know whether it can be used.
    pub(super) fn usable(asked: AskedQuery) -> Result<Self, PanelError> {
        asked.map(|extract::Query(query)| query).map_err(|_| {
            PanelError::new(StatusCode::BAD_REQUEST, "page, limit and account may be given once each.")
        })
    }

    pub(super) fn page(&self) -> Result<u64, PanelError> {
        number(self.page.as_deref(), 1, u64::MAX).ok_or_else(|| {
            PanelError::new(StatusCode::BAD_REQUEST, "page must be a whole number of at least 1.")
        })
    }

    pub(super) fn limit(&self) -> Result<u64, PanelError> {
        number(self.limit.as_deref(), DEFAULT_LIMIT, LARGEST_LIMIT).ok_or_else(|| {
            PanelError::new(
                StatusCode::BAD_REQUEST,
                format!("limit must be a whole number from 1 to {LARGEST_LIMIT}."),
            )
        })
    }
}

/// The number that a text is, from 1 to the largest.
fn number(text: Option<&str>, default: u64, largest: u64) -> Option<u64> {
    let Some(text) = text else { return Some(default) };
    text.parse().ok().filter(|number| (1..=largest).contains(number))
}
