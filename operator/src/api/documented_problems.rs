//! Error answers in the OpenAPI document, so that surfaces need not repeat them.

use std::collections::BTreeMap;

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use super::problem::Problem;

/// Answers by status.
pub(crate) type Answers = BTreeMap<String, RefOr<Response>>;

/// What a route may answer that knows people by their access token.
pub(crate) struct PersonProblems;

/// What a route may answer that takes an API key.
pub(crate) struct KeyHolderProblems;

/// What a route that takes a body may answer besides.
pub(crate) struct BodyProblems;

impl IntoResponses for PersonProblems {
    fn responses() -> Answers {
        problems(&[
            ("400", "The request cannot be used as it stands, or it is not clear which account is meant"),
            ("401", "No access token that is accepted"),
            ("403", "RBAC does not allow it"),
            ("429", "Too many requests from this address had no valid credential"),
            ("500", "Keyplane failed to answer"),
            ("503", "The cluster or the audit log does not do its part"),
            ("504", "No answer in time"),
        ])
    }
}

impl IntoResponses for KeyHolderProblems {
    fn responses() -> Answers {
        problems(&[
            ("401", "Missing, invalid, revoked, or expired API key"),
            (
                "403",
                "The key's scope does not include this, the key is locked, or it may not be used from this address",
            ),
            ("429", "Too many requests from this address had no valid credential"),
            ("500", "Keyplane failed to answer"),
            ("503", "The key's access is being set up, or the cluster or the audit log does not do its part"),
            ("504", "No answer in time"),
        ])
    }
}

impl IntoResponses for BodyProblems {
    fn responses() -> Answers {
        problems(&[("400", "The request cannot be used as it stands"), ("413", "The body is too large")])
    }
}

/// Answers in the form of [`Problem`], by status, with what each means.
pub(crate) fn problems(meanings: &[(&str, &str)]) -> Answers {
    let schema = || Ref::from_schema_name(Problem::name());
    let content = || ContentBuilder::new().schema(Some(schema())).build();
    let response = |meaning: &str| {
        let response = ResponseBuilder::new().description(meaning);
        RefOr::T(response.content("application/problem+json", content()).build())
    };
    meanings.iter().map(|(status, meaning)| ((*status).to_owned(), response(meaning))).collect()
}
