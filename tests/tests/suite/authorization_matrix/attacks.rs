//! What somebody tries who wants more than the matrix gives: other paths, other methods, other ways to name an account, other
//! headers, rights for a few names only, accounts that are strange or going.

mod bodies;
mod going;
mod naming;
mod paths;
mod rights;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_tests::http_api::{HttpAnswer, HttpApi};
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use kube::ResourceExt as _;
use serde_json::Value;

use super::outcome::told;

/// An account with a key that stands still, another one, and the people of both.
struct Neighbours {
    own: Tenant,
    other: Tenant,
    http: HttpApi,
    owner: String,
    stranger: String,
    viewer: String,
    /// The ids of two keys.
    one: String,
    two: String,
}

impl Neighbours {
    async fn meet(name: &str) -> Result<Self> {
        let shared = shared_keyplane().await?;
        let neighbour = format!("{name}-else");
        let (own, other) = tokio::try_join!(
            Tenant::create(shared.cluster, &shared.keyplane, name),
            Tenant::create(shared.cluster, &shared.keyplane, &neighbour)
        )?;
        for key in ["one", "two"] {
            own.key(key, &["--scope", "inference"]).await?;
        }
        let id = async |name: &str| own.stored_key(name).await?.uid().context("a UID");
        let (one, two) = (id("one").await?, id("two").await?);
        let (owner, stranger, viewer) =
            (own.owner_token().await?, other.owner_token().await?, own.viewer_token().await?);
        Ok(Self { http: own.http()?, own, other, owner, stranger, viewer, one, two })
    }

    async fn ask(
        &self,
        token: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<HttpAnswer> {
        let bearer = format!("Bearer {token}");
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend(headers);
        self.http.json(method, path, &all, body).await
    }

    /// Everything that is declared in the account, as it is stored.
    async fn keys(&self) -> Result<String> {
        let home = format!("--namespace={}", self.own.account);
        self.own.kubectl.run(["get", "apikeys,sshkeys,namespaces.keyplane.dev", &home, "--output=json"]).await
    }

    async fn ensure_unchanged(&self, before: &str) -> Result<()> {
        let after = self.keys().await?;
        ensure!(before == after, "something changed:\n{before}\n{after}");
        Ok(())
    }

    /// An answer that lets nobody in and tells nothing.
    fn ensure_nothing(&self, what: &str, answer: &HttpAnswer, statuses: &[u16]) -> Result<()> {
        ensure!(statuses.contains(&answer.status), "{what}: {statuses:?} expected: {}", told(answer));
        ensure!(!answer.text.contains(&self.one), "{what}: {}", told(answer));
        Ok(())
    }
}
