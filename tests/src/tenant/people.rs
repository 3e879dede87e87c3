//! People with access tokens: whom the API server knows, and what they own or may.

use std::path::Path;

use anyhow::{Context as _, Result};
use http::Method;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::{HeldKey, Tenant};
use crate::access::Access;
use crate::http_api::{HttpAnswer, HttpApi};
use crate::kubectl::Kubectl;
use crate::{plaintext_registry, private_file, workspace};

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

    /// kubectl of a person with this access token: the home namespace is its context's, and the plugin is on `PATH` with
    /// the same kubectl, which it runs in its turn.
    ///
    /// # Errors
    /// When the kubeconfig cannot be kept.
    pub fn kubectl_of_person(&self, token: &str) -> Result<Kubectl> {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "own",
            "clusters": [{"name": "own", "cluster": {
                "server": self.cluster_url, "certificate-authority": self.cluster_ca,
            }}],
            "users": [{"name": "own", "user": {"token": token}}],
            "contexts": [{"name": "own", "context": {"cluster": "own", "user": "own", "namespace": self.account}}],
        });
        let file = self.dir().join(format!("{}.kubeconfig", uuid::Uuid::new_v4().simple()));
        private_file::write(&file, kubeconfig.to_string())?;
        let programs =
            [Some(workspace::binary_dir()?), self.kubectl.program().parent().map(Path::to_path_buf)];
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(programs.into_iter().flatten().chain(std::env::split_paths(&rest)))?;
        workspace::binary("kubectl-keyplane")?;
        Ok(self.kubectl.with_access(&Access::of_file(&file)).with_env("PATH", path))
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
