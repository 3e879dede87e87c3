//! `/v1/account/api-keys` against the control plane: seed 003 word for word, and what kubectl shows of it.

mod away;
mod declared;
mod idempotency;
mod life;
mod limit;
mod lock;
mod people;
mod refused;
mod rotation;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_crds::ApiKey;
use keyplane_tests::http_api::{HttpAnswer, HttpApi};
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

const KEYS: &str = "/v1/account/api-keys";

/// An account, somebody who owns it, and where they call.
struct Own {
    tenant: Tenant,
    token: String,
    http: HttpApi,
}

impl Own {
    /// An account with the namespace `web`.
    async fn create(prefix: &str) -> Result<Self> {
        let shared = shared_keyplane().await?;
        let tenant = Tenant::create(shared.cluster, &shared.keyplane, prefix).await?;
        tenant.namespace("web").await?;
        Ok(Self { token: tenant.owner_token().await?, http: tenant.http()?, tenant })
    }

    /// Calls the API as the owner, with these headers besides.
    async fn call_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<HttpAnswer> {
        let bearer = format!("Bearer {}", self.token);
        let headers: Vec<_> =
            [("authorization", &*bearer)].into_iter().chain(headers.iter().copied()).collect();
        self.http.json(method, path, &headers, body).await
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<HttpAnswer> {
        self.call_with(method, path, &[], body).await
    }

    /// Asks for a key.
    async fn post(&self, body: &Value) -> Result<HttpAnswer> {
        self.call(Method::POST, KEYS, body).await
    }

    /// Makes a key, and keeps it.
    async fn made(&self, body: &Value) -> Result<(HeldKey, Value)> {
        let answer = self.post(body).await?;
        ensure!(answer.status == 201, "{}", told(&answer));
        Ok((self.held(&answer)?, answer.json()))
    }

    /// Makes a key that reaches the namespace `web`.
    async fn made_for_web(&self, name: &str) -> Result<(HeldKey, String)> {
        let scopes = json!({"kubernetes_exec": {"namespace_ids": [self.tenant.namespace_id("web").await?]}});
        let (key, made) = self.made(&json!({"name": name, "scopes": scopes})).await?;
        Ok((key, id_of(&made)?))
    }

    /// Keeps the key in an answer.
    fn held(&self, answer: &HttpAnswer) -> Result<HeldKey> {
        let plaintext = answer.at("/key").context("a key")?;
        let name = answer.at("/name").context("a name")?;
        let file = self.tenant.dir().join(format!("{}.key", uuid::Uuid::new_v4().simple()));
        // In a directory that only its owner can enter.
        std::fs::write(&file, plaintext)?;
        Ok(HeldKey { name, file })
    }

    async fn get(&self, id: &str) -> Result<Value> {
        let answer = self.call(Method::GET, &format!("{KEYS}/{id}"), &Value::Null).await?;
        ensure!(answer.status == 200, "{}", told(&answer));
        Ok(answer.json())
    }

    async fn patch(&self, id: &str, change: &Value) -> Result<HttpAnswer> {
        self.call(Method::PATCH, &format!("{KEYS}/{id}"), change).await
    }

    /// `revoke`, `rotate` or `unlock`.
    async fn post_to(&self, id: &str, what: &str, body: &Value) -> Result<HttpAnswer> {
        self.call(Method::POST, &format!("{KEYS}/{id}/{what}"), body).await
    }

    /// Waits until a key is shown as wanted.
    async fn until_shown(&self, id: &str, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        until(what, PATIENCE, || async {
            let shown = self.get(id).await?;
            Ok(if is_it(&shown) { Seen::Done(shown) } else { Seen::NotYet(shown.to_string()) })
        })
        .await
    }

    /// The stored keys.
    async fn stored(&self) -> Result<Vec<ApiKey>> {
        let keys: Api<ApiKey> = Api::namespaced(self.tenant.client(), &self.tenant.account);
        Ok(keys.list(&ListParams::default()).await?.items)
    }

    /// The stored key with this id.
    async fn stored_as(&self, id: &str) -> Result<ApiKey> {
        let found = self.stored().await?.into_iter().find(|key| key.uid().as_deref() == Some(id));
        found.with_context(|| format!("no ApiKey with the id {id}"))
    }

    /// Waits until the exchange refuses a key.
    async fn until_refused(&self, key: &HeldKey) -> Result<()> {
        until("the key to be refused", PATIENCE, || async {
            let answer = self.tenant.exchange(key).await?;
            Ok(if answer.status == 401 { Seen::Done(()) } else { Seen::NotYet(format!("{}", answer.status)) })
        })
        .await
    }
}

fn id_of(key: &Value) -> Result<String> {
    key["id"].as_str().map(ToOwned::to_owned).context("an id")
}

/// An answer for a message: without the key that may be in it.
fn told(answer: &HttpAnswer) -> String {
    let mut body = answer.json();
    if let Some(key) = body.pointer_mut("/key") {
        *key = json!("…");
    }
    format!("{} {body}", answer.status)
}

/// Ensures that an answer is this problem.
fn ensure_problem(what: &str, answer: &HttpAnswer, status: u16, code: &str) -> Result<String> {
    let kind = answer.header("content-type").unwrap_or_default();
    let body = answer.json();
    let told_status = body.pointer("/status").and_then(Value::as_u64);
    let is_it = answer.status == status
        && answer.at("/code").as_deref() == Some(code)
        && told_status == Some(u64::from(status));
    ensure!(is_it && kind == "application/problem+json", "{what}: {} as {kind}", told(answer));
    answer.at("/detail").context("a detail")
}
