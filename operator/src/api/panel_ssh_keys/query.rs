//! What stands behind the path: which page, how long, whose.

use http::StatusCode;
use utoipa::IntoParams;

use super::error::PanelError;

/// Items on a page where the query does not say, and the most that it may ask for (seed 002).
const DEFAULT_LIMIT: u64 = 50;
const LARGEST_LIMIT: u64 = 100;

/// The query, decoded.
#[derive(Default, IntoParams)]
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
    pub(super) account: Option<String>,
}

impl Query {
    /// Fields that are not known here are not looked at; one that is there twice is ambiguous.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, PanelError> {
        let mut parsed = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let (name, field) = match name.as_ref() {
                "page" => ("page", &mut parsed.page),
                "limit" => ("limit", &mut parsed.limit),
                "account" => ("account", &mut parsed.account),
                _ => continue,
            };
            if field.replace(value.into_owned()).is_some() {
                return Err(PanelError::new(StatusCode::BAD_REQUEST, format!("{name} may be given once.")));
            }
        }
        Ok(parsed)
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
