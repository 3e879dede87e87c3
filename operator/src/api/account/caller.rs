//! Whoever manages an account over HTTP: who they are, which account they mean, and whether RBAC lets them.

use chrono::Utc;
use http::{HeaderMap, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_core::audit::{
    Actor, AuditEvent, Code, EventId, RefusalReason, RequestedChange, Source, Subject,
};
use keyplane_core::client_address::ClientAddress;
use keyplane_core::readiness::ResourceKind;
use keyplane_crds::Account;
use kube::{Api, Client, ResourceExt};

use crate::api::problem::{Problem, audit_unavailable, cluster_unavailable, too_many_failures};
use crate::audit::{self, AuditLog, RefusalLog};
use crate::caller::{AccountChoice, Authorizer, NoAccount, NoSession, Sessions, User, Verb};
use crate::declared::{ApiFailure, Declared, Home};

/// What the surfaces for people need.
#[derive(Clone)]
pub(crate) struct AccountApi {
    /// Reads and writes at the API server.
    pub(crate) client: Client,
    /// Recognizes people.
    pub(crate) sessions: Sessions,
    /// Knows whose accounts are.
    pub(crate) accounts: AccountChoice,
    /// Asks what people may.
    pub(crate) authorizer: Authorizer,
    /// Takes down what is changed.
    pub(crate) audit: AuditLog,
    /// Takes down what was refused.
    pub(crate) refusals: RefusalLog,
    /// Who says so.
    pub(crate) source: Source,
}

/// Somebody who is known, and the account that they speak of. What they may do in it has not been asked yet.
pub(crate) struct AccountCaller<'a> {
    api: &'a AccountApi,
    user: User,
    /// The account's home namespace.
    pub(crate) home: Home,
    address: Option<ClientAddress>,
}

impl AccountApi {
    /// Who calls, and which account they mean: the one in `x-keyplane-account` or in the query, or the only one they own.
    ///
    /// # Errors
    /// 401 for nobody, 400 when it is not clear which account is meant.
    pub(crate) async fn caller(
        &self,
        headers: &HeaderMap,
        account: Option<&str>,
        address: Option<ClientAddress>,
    ) -> Result<AccountCaller<'_>, Problem> {
        let user = self.sessions.user(headers, address).await.map_err(session_problem)?;
        self.caller_of(user, headers, account, address)
    }

    /// [`AccountApi::caller`] for somebody who is known already.
    ///
    /// # Errors
    /// 400 when it is not clear which account is meant.
    pub(crate) fn caller_of(
        &self,
        user: User,
        headers: &HeaderMap,
        account: Option<&str>,
        address: Option<ClientAddress>,
    ) -> Result<AccountCaller<'_>, Problem> {
        let account = self.accounts.of_request(&user, headers, account).map_err(account_problem)?;
        let home = Home::of(self.client.clone(), &account);
        Ok(AccountCaller { api: self, user, home, address })
    }

    /// Takes down that `actor` asked for a change of a resource in `home`, before it is made.
    ///
    /// # Errors
    /// 503 when it cannot be taken down: then it must not be made.
    pub(crate) async fn record(
        &self,
        actor: Actor,
        home: &Home,
        address: Option<ClientAddress>,
        change: RequestedChange,
        metadata: &ObjectMeta,
    ) -> Result<(), Problem> {
        let id = EventId::random(*uuid::Uuid::new_v4().as_bytes());
        let metadata = ObjectMeta { namespace: Some(home.name().to_owned()), ..metadata.clone() };
        let event = AuditEvent::new(Code::ChangeRequested, self.source.clone(), id, Utc::now())
            .about(Some(Subject::new(change.kind(), &metadata)))
            .because(Some(change.as_str()), None)
            .by(Some(actor))
            .asked_from(address);
        self.audit.write(&event).await.map_err(|error| {
            tracing::warn!(%error, "nothing is changed: the audit log cannot be written");
            audit_unavailable()
        })
    }
}

impl AccountCaller<'_> {
    /// Asks whether the caller may do this, with the resource of this name where it is about one that exists.
    ///
    /// # Errors
    /// 403 when they may not, whether there is such an account or not; 404 when there is none.
    pub(crate) async fn may<K: Declared>(&self, verb: Verb, name: Option<&str>) -> Result<(), Problem> {
        let asked = self.api.authorizer.may::<K>(&self.user, verb, self.home.name(), name);
        if asked.await.map_err(failure_problem)? {
            return Ok(());
        }
        let refusal = audit::Refusal {
            reason: RefusalReason::NotEntitled,
            subject: Some(Subject::new(ResourceKind::Account, &named(None, self.home.name()))),
            client: self.address,
            message: None,
            version: None,
            actor: Some(self.actor()),
        };
        if let Err(error) = self.api.refusals.refused(refusal).await {
            tracing::warn!(%error, "the audit log cannot be written");
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!(
                "You may not do this in the account {}: its owners are in spec.owners of the Account, and further rights are \
                 RoleBindings in the namespace of its name",
                self.home.name()
            ),
        ))
    }

    /// Finds the resource with this id, and asks whether the caller may do this with it.
    ///
    /// # Errors
    /// 403 when they may not; `absent` when there is none, or it is another account's.
    pub(crate) async fn find<K: Declared>(
        &self,
        id: &str,
        verb: Verb,
        absent: fn() -> Problem,
    ) -> Result<K, Problem> {
        let found: Option<K> = self.home.find(id).await.map_err(failure_problem)?;
        // Asked in either case, so that nobody learns what is there by being refused otherwise.
        self.may::<K>(verb, found.as_ref().map(ResourceExt::name_any).as_deref()).await?;
        found.ok_or_else(absent)
    }

    /// The account, as it stands at the API server.
    ///
    /// # Errors
    /// 404 when there is none.
    pub(crate) async fn account(&self) -> Result<Account, Problem> {
        let found = Api::<Account>::all(self.api.client.clone()).get_opt(self.home.name()).await;
        let found = found.map_err(|error| failure_problem(error.into()))?;
        found.ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "account_not_found",
                format!("There is no Account {}", self.home.name()),
            )
        })
    }

    /// Takes down that the caller asked for a change, before it is made.
    ///
    /// # Errors
    /// 503 when it cannot be taken down: then it must not be made.
    pub(crate) async fn record(&self, change: RequestedChange, metadata: &ObjectMeta) -> Result<(), Problem> {
        self.api.record(self.actor(), &self.home, self.address, change, metadata).await
    }

    fn actor(&self) -> Actor {
        Actor { user: Some(self.user.name.clone()), ..Actor::default() }
    }
}

fn named(namespace: Option<&str>, name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: namespace.map(ToOwned::to_owned),
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

/// The answer to a caller who is nobody.
pub(crate) fn session_problem(reason: NoSession) -> Problem {
    match reason {
        NoSession::Missing => {
            Problem::new(StatusCode::UNAUTHORIZED, "missing_access_token", "Missing access token")
        }
        NoSession::Invalid => Problem::new(
            StatusCode::UNAUTHORIZED,
            "invalid_access_token",
            "The cluster's API server does not accept this access token: it is none, is expired, or is for another audience",
        ),
        NoSession::Unknown(failure) => failure_problem(failure),
        NoSession::TooManyFailures(pause) => too_many_failures(pause),
    }
}

fn account_problem(reason: NoAccount) -> Problem {
    let problem = |code, detail: String| Problem::new(StatusCode::BAD_REQUEST, code, detail);
    match reason {
        NoAccount::Nothing => problem(
            "no_account",
            "You own no account: name one in the header x-keyplane-account, or ask a platform team to add you to an \
             Account's spec.owners"
                .to_owned(),
        ),
        NoAccount::Several(names) => problem(
            "several_accounts",
            format!("You own several accounts: name one in the header x-keyplane-account: {}", names.join(", ")),
        ),
        NoAccount::Unusable => problem(
            "invalid_account",
            "x-keyplane-account and the query parameter account must name one and the same account".to_owned(),
        ),
    }
}

/// The answer when the API server did not do what was asked.
pub(crate) fn failure_problem(failure: ApiFailure) -> Problem {
    match failure {
        ApiFailure::NotFound => Problem::new(StatusCode::NOT_FOUND, "not_found", "It is not there any more"),
        ApiFailure::AlreadyExists => {
            Problem::new(StatusCode::CONFLICT, "already_exists", "One of this name is there already")
        }
        ApiFailure::Conflict => {
            Problem::new(StatusCode::CONFLICT, "conflict", "It is being changed by others; try again")
                .retry_after(1)
        }
        ApiFailure::Rejected(message) => Problem::new(StatusCode::BAD_REQUEST, "rejected", message),
        ApiFailure::Unavailable(error) => {
            tracing::warn!(%error, "the API server did not do what was asked");
            cluster_unavailable()
        }
    }
}
