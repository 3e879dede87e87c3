//! Asking the API server who the bearer of a token is (`TokenReview`).

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::declared::ApiFailure;

/// Asks for reviews.
#[derive(Clone)]
pub(crate) struct TokenReviews(Api<TokenReview>);

impl TokenReviews {
    /// One that asks through this client.
    pub(crate) fn new(client: Client) -> Self {
        Self(Api::all(client))
    }

    /// Whom the API server knows the bearer of this token as; none where it does not accept the token.
    ///
    /// # Errors
    /// When it does not say within this time.
    pub(crate) async fn bearer_of(
        &self,
        token: &str,
        within: Duration,
    ) -> Result<Option<UserInfo>, ApiFailure> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() },
            ..TokenReview::default()
        };
        let params = PostParams::default();
        let asking = self.0.create(&params, &review);
        let answer = tokio::time::timeout(within, asking).await.map_err(|_| ApiFailure::late())??;
        let status = answer.status.unwrap_or_default();
        Ok(status.user.filter(|_| status.authenticated == Some(true)))
    }
}
