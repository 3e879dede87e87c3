//! SSH keys over HTTP: what both surfaces have in common. Each one's own words are in `panel_ssh_keys` and
//! `gpu_cloud_ssh_keys`.

mod parity;
mod races;
mod records;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_crds::SshKey;
use keyplane_tests::http_api::{HttpAnswer, HttpApi};
use keyplane_tests::keyplane_process::Keyplane;
use keyplane_tests::shared::{SharedKeyplane, shared_keyplane};
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::process::Command;

/// The paths of the two surfaces.
pub(crate) const PANEL: &str = "/api/account/ssh-keys";
pub(crate) const GPU_CLOUD: &str = "/gpu-cloud/ssh-keys";

/// A surface, as its clients use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    Panel,
    GpuCloud,
}

impl Surface {
    pub(crate) const BOTH: [Self; 2] = [Self::Panel, Self::GpuCloud];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Panel => PANEL,
            Self::GpuCloud => GPU_CLOUD,
        }
    }

    /// Asks with an API key in the header of this surface. `behind` follows the surface's path.
    pub(crate) async fn ask(
        self,
        api: &HttpApi,
        key: &str,
        method: Method,
        behind: &str,
        body: &Value,
    ) -> Result<HttpAnswer> {
        let bearer = format!("Bearer {key}");
        let header = match self {
            Self::Panel => ("authorization", bearer.as_str()),
            Self::GpuCloud => ("x-api-key", key),
        };
        api.json(method, &format!("{}{behind}", self.path()), &[header], body).await
    }

    /// Registers a public key.
    pub(crate) async fn create(
        self,
        api: &HttpApi,
        key: &str,
        name: &str,
        public: &str,
    ) -> Result<HttpAnswer> {
        let body = json!({"name": name, "publicKey": public});
        self.ask(api, key, Method::POST, "", &body).await
    }

    /// The id of the key that an answer tells of.
    pub(crate) fn id(self, answer: &HttpAnswer) -> Result<String> {
        let pointer = match self {
            Self::Panel => "/data/id",
            Self::GpuCloud => "/_id",
        };
        answer.at(pointer).with_context(|| format!("no id: {answer:?}"))
    }
}

/// An account with an API key for its SSH keys.
pub(crate) struct Stage {
    pub(crate) shared: &'static SharedKeyplane,
    pub(crate) own: Tenant,
    pub(crate) key: HeldKey,
}

impl Stage {
    pub(crate) async fn start(prefix: &str) -> Result<Self> {
        let shared = shared_keyplane().await?;
        let own = Tenant::create(shared.cluster, &shared.keyplane, prefix).await?;
        let key = key_with_scope(&own, "ssh", &["--scope", "ssh-keys"], &[]).await?;
        until_known(&own.http()?, &key).await?;
        Ok(Self { shared, own, key })
    }

    pub(crate) async fn ask(
        &self,
        surface: Surface,
        method: Method,
        behind: &str,
        body: &Value,
    ) -> Result<HttpAnswer> {
        surface.ask(&self.own.http()?, &self.key.plaintext()?, method, behind, body).await
    }

    /// Registers a fresh public key under this name, and returns it with its id.
    pub(crate) async fn registered(&self, surface: Surface, name: &str) -> Result<(String, String)> {
        let public = self.own.ssh_key_pair(name, "ed25519").await?.public;
        let answer = surface.create(&self.own.http()?, &self.key.plaintext()?, name, &public).await?;
        ensure!(answer.status == 201, "{answer:?}");
        Ok((surface.id(&answer)?, without_comment(&public)))
    }
}

/// Makes an API key, perhaps for these addresses only, and waits until it can be used.
pub(crate) async fn key_with_scope(
    own: &Tenant,
    name: &str,
    scope: &[&str],
    addresses: &[&str],
) -> Result<HeldKey> {
    let (key, mut manifest) = own.generate(name, scope).await?;
    if !addresses.is_empty() {
        let list = format!("spec:\n  allowedCidrs: {}\n", serde_json::to_string(addresses)?);
        manifest = manifest.replacen("spec:\n", &list, 1);
    }
    own.kubectl.apply(&manifest).await?;
    own.wait_ready(&format!("apikey/{name}")).await?;
    Ok(key)
}

/// Waits until a replica knows a key: it learns of it a moment after its status says Ready.
pub(crate) async fn until_known(api: &HttpApi, key: &HeldKey) -> Result<()> {
    let secret = key.plaintext()?;
    until(&format!("the API to know {}", key.name), PATIENCE, || async {
        let answer = Surface::Panel.ask(api, &secret, Method::GET, "", &Value::Null).await?;
        Ok(if answer.status == 401 || answer.status == 503 {
            Seen::NotYet(format!("{answer:?}"))
        } else {
            Seen::Done(())
        })
    })
    .await
}

/// The HTTP API of a further replica.
pub(crate) fn http_of(replica: &Keyplane) -> Result<HttpApi> {
    HttpApi::at(&replica.url(), Some(replica.ca_file()))
}

/// Type and base64.
pub(crate) fn without_comment(public: &str) -> String {
    public.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// The fingerprint that ssh-keygen shows.
pub(crate) async fn fingerprint(own: &Tenant, public: &str) -> Result<String> {
    let file = own.dir().join(format!("{}.pub", uuid::Uuid::new_v4().simple()));
    std::fs::write(&file, format!("{public}\n"))?;
    let shown = Command::new("ssh-keygen").arg("-lf").arg(&file).output().await?;
    let shown = String::from_utf8(shown.stdout)?;
    shown.split_whitespace().nth(1).map(ToOwned::to_owned).context("ssh-keygen -l prints a fingerprint")
}

/// The SshKeys of an account, as the API server has them.
pub(crate) async fn stored(own: &Tenant) -> Result<Vec<SshKey>> {
    let keys: Api<SshKey> = Api::namespaced(own.client(), &own.account);
    Ok(keys.list(&ListParams::default()).await?.items)
}
