//! People with access tokens: whom the API server knows, and what they own or may.

use anyhow::{Context as _, Result};
use http::Method;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::Value;

use super::{HeldKey, Tenant};
use crate::http_api::{HttpAnswer, HttpApi};
use crate::plaintext_registry;

/// The namespace of the ServiceAccounts that stand in for people.
const PEOPLE: &str = "default";
/// How long their tokens live.
const TOKEN_SECONDS: i64 = 3600;

impl Tenant {
    /// Keyplane's HTTP API.
    ///
    /// # Errors
    /// When its certificate cannot be read.
    pub fn http(&self) -> Result<HttpApi> {
        HttpApi::at(&self.exchange_url, Some(&self.exchange_ca))
    }

    /// The access token of somebody who owns the account. Asked again, of the same person.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn owner_token(&self) -> Result<String> {
        let person = format!("{}-person", self.account);
        let token = self.person(&person).await?;
        let patch = format!(
            r#"{{"spec": {{"owners": [{{"kind": "User", "name": "{}"}}, {{"kind": "ServiceAccount", "name": "{person}", "namespace": "{PEOPLE}"}}]}}}}"#,
            self.owner()
        );
        self.kubectl.run(["patch", "account", &self.account, "--type=merge", "-p", &patch]).await?;
        self.until_may(&person, "create", "apikeys.keyplane.dev").await?;
        Ok(token)
    }

    /// The access token of somebody who may read in the home namespace, and owns nothing.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn viewer_token(&self) -> Result<String> {
        let person = format!("{}-viewer", self.account);
        let token = self.person(&person).await?;
        let home = format!("--namespace={}", self.account);
        let manifest = format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: viewer, namespace: {0}}}\nrules: \
             [{{apiGroups: [keyplane.dev], resources: ['*'], verbs: [get, list, watch]}}]\n---\napiVersion: \
             rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: viewer, namespace: {0}}}\nroleRef: {{apiGroup: \
             rbac.authorization.k8s.io, kind: Role, name: viewer}}\nsubjects: [{{kind: ServiceAccount, name: {person}, \
             namespace: {PEOPLE}}}]\n",
            self.account
        );
        self.kubectl.apply(&manifest).await.with_context(|| home.clone())?;
        self.until_may(&person, "list", "apikeys.keyplane.dev").await?;
        Ok(token)
    }

    /// Calls the HTTP API with an access token.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn call(&self, token: &str, method: Method, path: &str, body: &Value) -> Result<HttpAnswer> {
        let bearer = format!("Bearer {token}");
        self.http()?.json(method, path, &[("authorization", &bearer)], body).await
    }

    /// Calls the HTTP API with a key in `x-api-key`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn call_with_key(
        &self,
        key: &HeldKey,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<HttpAnswer> {
        let plaintext = key.plaintext()?;
        self.http()?.json(method, path, &[("x-api-key", &plaintext)], body).await
    }

    /// The token of a ServiceAccount that stands in for a person: to Keyplane everybody is a user name and groups.
    async fn person(&self, name: &str) -> Result<String> {
        let people: Api<ServiceAccount> = Api::namespaced(self.client(), PEOPLE);
        if people.get_opt(name).await?.is_none() {
            let person = ServiceAccount {
                metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
                ..ServiceAccount::default()
            };
            people.create(&PostParams::default(), &person).await?;
        }
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(TOKEN_SECONDS),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer = people.create_token_request(name, &PostParams::default(), &request).await?;
        let token =
            answer.status.and_then(|status| status.token).context("a TokenRequest answers with a token")?;
        plaintext_registry::token(&token)?;
        Ok(token)
    }

    /// Waits until RBAC has what it was told.
    async fn until_may(&self, person: &str, verb: &str, resource: &str) -> Result<()> {
        let user = format!("--as=system:serviceaccount:{PEOPLE}:{person}");
        let home = format!("--namespace={}", self.account);
        crate::waiting::until(
            &format!("{person} may {verb} {resource}"),
            crate::waiting::PATIENCE,
            || async {
                let asked = self.kubectl.capture(["auth", "can-i", verb, resource, &home, &user], "").await?;
                Ok(match asked.code {
                    Some(0) => crate::waiting::Seen::Done(()),
                    _ => crate::waiting::Seen::NotYet(format!("{asked}")),
                })
            },
        )
        .await
    }
}
