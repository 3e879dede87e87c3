//! What somebody may do in an account: asked of the API server, as RBAC has it. Nobody is impersonated.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client, Resource};

use super::session::User;
use crate::declared::ApiFailure;

/// How long the API server may take to answer.
const REVIEW_LIMIT: Duration = Duration::from_secs(10);

/// What is to be done with a resource, as RBAC calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Create,
    Patch,
    Delete,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// Asks what somebody may do.
#[derive(Clone)]
pub(crate) struct Authorizer {
    reviews: Api<SubjectAccessReview>,
}

impl Authorizer {
    /// One that asks through this client.
    pub(crate) fn new(client: Client) -> Self {
        Self { reviews: Api::all(client) }
    }

    /// Whether RBAC (and whatever else authorizes in this cluster) lets this user do this with a resource of Keyplane's in
    /// a namespace; `name` where it is about one that exists.
    ///
    /// # Errors
    /// When the API server does not say.
    pub(crate) async fn may<K: Resource<DynamicType = ()>>(
        &self,
        user: &User,
        verb: Verb,
        namespace: &str,
        name: Option<&str>,
    ) -> Result<bool, ApiFailure> {
        let attributes = ResourceAttributes {
            group: Some(K::group(&()).into_owned()),
            version: Some(K::version(&()).into_owned()),
            resource: Some(K::plural(&()).into_owned()),
            verb: Some(verb.as_str().to_owned()),
            namespace: Some(namespace.to_owned()),
            name: name.map(ToOwned::to_owned),
            ..ResourceAttributes::default()
        };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.name.clone()),
                uid: user.uid.clone(),
                groups: Some(user.groups.clone()),
                extra: user.extra.clone(),
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let params = PostParams::default();
        let asking = self.reviews.create(&params, &review);
        let answer = tokio::time::timeout(REVIEW_LIMIT, asking).await.map_err(|_| ApiFailure::late())?;
        Ok(answer.map_err(ApiFailure::from)?.status.is_some_and(|status| status.allowed))
    }
}
