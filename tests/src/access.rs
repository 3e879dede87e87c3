//! How to reach a cluster as its administrator.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kube::Client;
use kube::config::{Cluster, Config, KubeConfigOptions, Kubeconfig};

/// A kubeconfig and the context in it; nothing is read from the environment behind the caller's back.
#[derive(Debug, Clone)]
pub struct Access {
    kubeconfig: OsString,
    context: Option<String>,
}

impl Access {
    /// The current context of one file.
    #[must_use]
    pub fn of_file(kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.as_os_str().to_owned(), context: None }
    }

    /// A named context. `kubeconfig` is what `KUBECONFIG` may hold: one file, or several separated by colons.
    #[must_use]
    pub fn of_context(kubeconfig: &OsStr, context: &str) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), context: Some(context.to_owned()) }
    }

    /// A value for the environment variable `KUBECONFIG`.
    #[must_use]
    pub fn kubeconfig(&self) -> &OsStr {
        &self.kubeconfig
    }

    /// The context, when it is not the kubeconfig's current one.
    #[must_use]
    pub fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// A client for the calling tokio runtime (a client does not outlive the runtime it was made in). It
    /// repeats nothing by itself: a test sees what the server answered.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read or lacks the context.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.config().await?)?)
    }

    /// As [`Access::client`], with every request made in the name of another user, whose rights it then has.
    ///
    /// # Errors
    /// As [`Access::client`].
    pub async fn client_as(&self, user: &str) -> Result<Client> {
        let mut config = self.config().await?;
        config.auth_info.impersonate = Some(user.to_owned());
        Ok(Client::try_from(config)?)
    }

    async fn config(&self) -> Result<Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut config = Config::from_custom_kubeconfig(self.read()?, &options).await?;
        config.default_retry = false;
        Ok(config)
    }

    /// The cluster's entry of the kubeconfig: address, authority, proxy; no credentials.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read or lacks the context or its cluster.
    pub fn cluster(&self) -> Result<Cluster> {
        let kubeconfig = self.read()?;
        let wanted = self
            .context
            .clone()
            .or(kubeconfig.current_context)
            .context("the kubeconfig has no current context")?;
        let context = kubeconfig
            .contexts
            .into_iter()
            .find(|named| named.name == wanted)
            .and_then(|named| named.context)
            .with_context(|| format!("the kubeconfig has no context {wanted}"))?;
        kubeconfig
            .clusters
            .into_iter()
            .find(|named| named.name == context.cluster)
            .and_then(|named| named.cluster)
            .with_context(|| format!("the kubeconfig has no cluster {}", context.cluster))
    }

    /// The authority of the API server's certificate, as PEM; none when the system's own are meant.
    ///
    /// # Errors
    /// When the kubeconfig or the file that it names cannot be read.
    pub fn ca_pem(&self) -> Result<Option<String>> {
        let cluster = self.cluster()?;
        let bytes = match (cluster.certificate_authority_data, cluster.certificate_authority) {
            (Some(data), _) => BASE64_STANDARD.decode(data)?,
            (None, Some(file)) => std::fs::read(&file).with_context(|| format!("cannot read {file}"))?,
            (None, None) => return Ok(None),
        };
        Ok(Some(String::from_utf8(bytes)?))
    }

    fn read(&self) -> Result<Kubeconfig> {
        let mut merged = Kubeconfig::default();
        for file in std::env::split_paths(&self.kubeconfig).filter(|path: &PathBuf| path.exists()) {
            let next =
                Kubeconfig::read_from(&file).with_context(|| format!("cannot read {}", file.display()))?;
            merged = merged.merge(next)?;
        }
        Ok(merged)
    }
}
