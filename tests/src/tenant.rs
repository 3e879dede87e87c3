//! An account of a test's own, with what its owners and key holders do to it.
//!
//! Everything goes the way a person's would: manifests through kubectl, keys from `kubectl-keyplane generate`,
//! kubeconfigs from `kubectl-keyplane kubeconfig`, tokens through the plugin.

mod handover;
mod people;
mod presentation;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use keyplane_crds::{ApiKey, Namespace};
use kube::{Api, Client, ResourceExt as _};
use tempfile::TempDir;
use tokio::process::Command;

use crate::access::Access;
use crate::control_plane::ControlPlane;
use crate::keyplane_process::Keyplane;
use crate::kubectl::Kubectl;
use crate::progress::say;
use crate::waiting::{PATIENCE, Seen, until};
use crate::{plaintext_registry, workspace};

pub use handover::SshKeyPair;

/// An account with a name that no other test has.
pub struct Tenant {
    /// The account's and its home namespace's name.
    pub account: String,
    /// kubectl of the cluster's administrator.
    pub kubectl: Kubectl,
    cluster_url: String,
    cluster_ca: PathBuf,
    exchange_url: String,
    exchange_ca: PathBuf,
    client: Client,
    files: HolderFiles,
}

/// What a test's key holders keep. When it goes, the tokens in the plugin's cache are noted: they passed nobody else.
struct HolderFiles(TempDir);

impl HolderFiles {
    fn token_cache(&self) -> PathBuf {
        self.0.path().join("token-cache")
    }
}

impl Drop for HolderFiles {
    fn drop(&mut self) {
        if let Err(error) = plaintext_registry::tokens_in(&self.token_cache()) {
            say(format!("keyplane: {error:#}"));
        }
    }
}

/// A key and where its holder keeps it.
#[derive(Debug, Clone)]
pub struct HeldKey {
    /// The ApiKey's name.
    pub name: String,
    /// The file with the key, readable by its holder only.
    pub file: PathBuf,
}

impl HeldKey {
    /// The key itself.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn plaintext(&self) -> Result<String> {
        let text = std::fs::read_to_string(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        Ok(text.trim_end().to_owned())
    }
}

impl Tenant {
    /// Makes an account whose name starts with `prefix`, owned by the user `<account>-owner`, and waits for it.
    ///
    /// # Errors
    /// When the cluster refuses it or it does not become Ready.
    pub async fn create(cluster: &ControlPlane, keyplane: &Keyplane, prefix: &str) -> Result<Self> {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let account = format!("{prefix}-{}", unique.get(..8).context("a UUID is longer than that")?);
        Self::named(cluster, keyplane, &account).await
    }

    /// As [`Tenant::create`], with exactly this name.
    ///
    /// # Errors
    /// As [`Tenant::create`].
    pub async fn named(cluster: &ControlPlane, keyplane: &Keyplane, account: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let cluster_ca = dir.path().join("cluster-ca.crt");
        std::fs::write(&cluster_ca, cluster.ca_pem()?.context("a test cluster has a CA of its own")?)?;
        let tenant = Self {
            account: account.to_owned(),
            kubectl: cluster.kubectl().clone(),
            cluster_url: cluster.server_url()?,
            cluster_ca,
            exchange_url: keyplane.url(),
            exchange_ca: keyplane.ca_file().to_path_buf(),
            client: cluster.client().await?,
            files: HolderFiles(dir),
        };
        let manifest = format!(
            "apiVersion: keyplane.dev/v1alpha1\nkind: Account\nmetadata: {{name: {account}}}\n\
             spec: {{owners: [{{kind: User, name: {account}-owner}}]}}\n"
        );
        tenant.kubectl.apply(&manifest).await?;
        tenant.wait_ready(&format!("account/{account}")).await?;
        Ok(tenant)
    }

    /// A client of the cluster's administrator.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A directory of the test's own.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.files.0.path()
    }

    /// The user that owns the account.
    #[must_use]
    pub fn owner(&self) -> String {
        format!("{}-owner", self.account)
    }

    /// Waits until something in the home namespace is Ready, as `kubectl wait` sees it.
    ///
    /// # Errors
    /// When it is not Ready in time; the message holds what kubectl describes of it.
    pub async fn wait_ready(&self, what: &str) -> Result<()> {
        let home = format!("--namespace={}", self.account);
        let waited =
            self.kubectl.capture(["wait", "--for=condition=Ready", "--timeout=60s", &home, what], "").await?;
        if waited.code == Some(0) {
            return Ok(());
        }
        let story = self.kubectl.capture(["describe", &home, what], "").await?;
        bail!("{waited}\n{story}");
    }

    /// Declares a namespace and waits for it; returns its core Namespace's name.
    ///
    /// # Errors
    /// When it is refused or does not become Ready.
    pub async fn namespace(&self, name: &str) -> Result<String> {
        let manifest = format!(
            "apiVersion: keyplane.dev/v1alpha1\nkind: Namespace\nmetadata: {{name: {name}, namespace: {}}}\n",
            self.account
        );
        self.kubectl.apply(&manifest).await?;
        self.wait_ready(&format!("namespaces.keyplane.dev/{name}")).await?;
        Ok(format!("{}-{name}", self.account))
    }

    /// The id of a namespace of the account.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn namespace_id(&self, name: &str) -> Result<String> {
        let namespaces: Api<Namespace> = Api::namespaced(self.client(), &self.account);
        namespaces.get(name).await?.uid().context("a stored object has a UID")
    }

    /// Makes a key with `kubectl-keyplane generate` and these further arguments, and returns its manifest.
    ///
    /// # Errors
    /// When the plugin refuses.
    pub async fn generate(&self, name: &str, arguments: &[&str]) -> Result<(HeldKey, String)> {
        let file = self.dir().join(format!("{name}.key"));
        let output = Command::new(workspace::binary("kubectl-keyplane")?)
            .args(["generate", "--name", name, "--namespace", &self.account, "--key-out"])
            .arg(&file)
            .args(arguments)
            .output()
            .await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let key = HeldKey { name: name.to_owned(), file };
        plaintext_registry::key(&key.plaintext()?)?;
        Ok((key, String::from_utf8(output.stdout)?))
    }

    /// Makes and declares a key, and waits until it can be used.
    ///
    /// # Errors
    /// When it is refused or does not become Ready.
    pub async fn key(&self, name: &str, arguments: &[&str]) -> Result<HeldKey> {
        let (key, manifest) = self.generate(name, arguments).await?;
        self.kubectl.apply(&manifest).await?;
        self.wait_ready(&format!("apikey/{name}")).await?;
        Ok(key)
    }

    /// Takes a key out of the Secret that it was delivered into, in the home namespace. The run may hold the key there
    /// and nowhere else.
    ///
    /// # Errors
    /// When there is no such Secret, or no key in it.
    pub async fn delivered_key(&self, secret: &str) -> Result<HeldKey> {
        let secrets: Api<Secret> = Api::namespaced(self.client(), &self.account);
        let data = secrets.get(secret).await?.data.unwrap_or_default();
        let content = data.get("key").with_context(|| format!("the Secret {secret} has no field key"))?;
        let plaintext = std::str::from_utf8(&content.0)?.trim_end();
        plaintext_registry::delivered(plaintext, &self.account, secret)?;
        self.keep(secret, plaintext)
    }

    /// Changes a key's spec with a JSON merge patch.
    ///
    /// # Errors
    /// When admission refuses.
    pub async fn patch_key(&self, name: &str, spec: &str) -> Result<String> {
        let patch = format!("{{\"spec\":{spec}}}");
        self.kubectl
            .run(["patch", "apikey", name, "--namespace", &self.account, "--type=merge", "-p", &patch])
            .await
    }

    /// The ApiKey as it is stored now.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn stored_key(&self, name: &str) -> Result<ApiKey> {
        let keys: Api<ApiKey> = Api::namespaced(self.client(), &self.account);
        Ok(keys.get(name).await?)
    }

    /// Waits until the key's condition Ready has this reason, and returns the key.
    ///
    /// # Errors
    /// When it does not come to that.
    pub async fn key_with_reason(&self, name: &str, reason: &str) -> Result<ApiKey> {
        until(&format!("ApiKey {name} with reason {reason}"), PATIENCE, || async {
            let key = self.stored_key(name).await?;
            let seen = key.status.as_ref().and_then(|status| status.conditions.first());
            let current =
                seen.is_some_and(|condition| condition.observed_generation == key.metadata.generation);
            Ok(match seen {
                Some(condition) if current && condition.reason == reason => Seen::Done(key.clone()),
                other => Seen::NotYet(format!("{other:?}")),
            })
        })
        .await
    }

    /// kubectl of a key's holder: a kubeconfig that calls the plugin, and nothing else.
    ///
    /// # Errors
    /// When the plugin refuses.
    pub async fn kubectl_of(&self, key: &HeldKey) -> Result<Kubectl> {
        let kubeconfig = self.dir().join(format!("{}.kubeconfig", key.name));
        let output = Command::new(workspace::binary("kubectl-keyplane")?)
            .args(["kubeconfig", "--cluster", "test", "--cluster-server", &self.cluster_url])
            .arg("--cluster-certificate-authority")
            .arg(&self.cluster_ca)
            .args(["--server", &self.exchange_url, "--certificate-authority"])
            .arg(&self.exchange_ca)
            .arg("--key-file")
            .arg(&key.file)
            .arg("--merge-into")
            .arg(&kubeconfig)
            .output()
            .await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.holders_kubectl(&kubeconfig)
    }

    /// kubectl with this kubeconfig, and the plugin on `PATH`.
    fn holders_kubectl(&self, kubeconfig: &Path) -> Result<Kubectl> {
        let mut path = workspace::binary_dir()?.into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        Ok(self
            .kubectl
            .with_access(&Access::of_file(kubeconfig))
            .with_env("PATH", path)
            .with_env("KEYPLANE_CACHE_DIR", self.files.token_cache()))
    }

    /// Presents a key to the exchange.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn exchange(&self, key: &HeldKey) -> Result<crate::exchange::Answer> {
        let headers = [("x-api-key", key.plaintext()?)];
        crate::exchange::post(&self.exchange_url, &self.exchange_ca, &headers, b"").await
    }

    /// A client of the cluster with nothing but a key's token.
    ///
    /// # Errors
    /// When the exchange gives no token.
    pub async fn client_of(&self, key: &HeldKey) -> Result<Client> {
        self.client_with(&self.exchange(key).await?)
    }

    /// A client of the cluster with nothing but the token of this answer.
    ///
    /// # Errors
    /// When the answer holds no token.
    pub fn client_with(&self, answer: &crate::exchange::Answer) -> Result<Client> {
        let token = answer.token().with_context(|| format!("no token: {answer:?}"))?;
        let mut config = kube::Config::new(self.cluster_url.parse()?);
        let ca = std::fs::read(&self.cluster_ca)?;
        config.root_cert = Some(vec![crate::exchange::first_certificate(&ca)?]);
        config.default_retry = false;
        config.auth_info.token = Some(token.into());
        Ok(Client::try_from(config)?)
    }
}
