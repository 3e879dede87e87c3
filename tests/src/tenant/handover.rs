//! Keys that Keyplane makes, as their owners get at them: out of a Secret, or unsealed with an SSH private key.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{HeldKey, Tenant};
use crate::kubectl::Kubectl;
use crate::{plaintext_registry, private_file, programs};

/// A pair of keys from ssh-keygen.
#[derive(Debug, Clone)]
pub struct SshKeyPair {
    /// The public key, one OpenSSH line.
    pub public: String,
    /// The file with the private key.
    pub private_file: PathBuf,
}

impl Tenant {
    /// Declares an ApiKey in the home namespace, and waits for nothing.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn declare(&self, name: &str, spec: &Value) -> Result<()> {
        self.declare_kind("ApiKey", name, spec).await
    }

    /// Registers an SSH public key under a name, and waits for nothing.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn register_ssh_key(&self, name: &str, public: &str) -> Result<()> {
        self.declare_kind("SshKey", name, &json!({"publicKey": public})).await
    }

    async fn declare_kind(&self, kind: &str, name: &str, spec: &Value) -> Result<()> {
        let manifest = json!({
            "apiVersion": "keyplane.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": self.account}, "spec": spec,
        });
        self.kubectl.apply(&manifest.to_string()).await.map(drop)
    }

    /// Makes a pair of SSH keys of this type: `ed25519`, `rsa` or `ecdsa`.
    ///
    /// # Errors
    /// When ssh-keygen does not make one.
    pub async fn ssh_key_pair(&self, name: &str, kind: &str) -> Result<SshKeyPair> {
        let private_file = self.dir().join(format!("{name}.{kind}"));
        let made = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-t", kind, "-C", name, "-f"])
            .arg(&private_file)
            .output()
            .await
            .context("ssh-keygen does not start: install OpenSSH's client (Debian: openssh-client)")?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut public_file = private_file.clone().into_os_string();
        public_file.push(".pub");
        let public = std::fs::read_to_string(public_file)?.trim_end().to_owned();
        Ok(SshKeyPair { public, private_file })
    }

    /// A Secret of the home namespace, if it is there. Print none that may hold a key.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn secret(&self, name: &str) -> Result<Option<Secret>> {
        let secrets: Api<Secret> = Api::namespaced(self.client(), &self.account);
        Ok(secrets.get_opt(name).await?)
    }

    /// kubectl with the kubeconfig out of the Secret that a key was delivered into, and the plugin on `PATH`.
    ///
    /// # Errors
    /// When there is no such Secret, or no kubeconfig in it.
    pub async fn delivered_kubectl(&self, secret: &str) -> Result<Kubectl> {
        // The kubeconfig holds the key too.
        self.delivered_key(secret).await?;
        let data = self.secret(secret).await?.and_then(|found| found.data).unwrap_or_default();
        let content =
            data.get("kubeconfig").with_context(|| format!("the Secret {secret} has no field kubeconfig"))?;
        let file = self.dir().join(format!("{secret}-{}.kubeconfig", uuid::Uuid::new_v4().simple()));
        private_file::write(&file, &content.0)?;
        self.holders_kubectl(&file)
    }

    /// kubectl with this kubeconfig, which holds no key, for somebody who has one in `KEYPLANE_API_KEY`.
    ///
    /// # Errors
    /// When the kubeconfig or the key cannot be kept.
    pub fn kubectl_with(&self, kubeconfig: &str, key: &HeldKey) -> Result<Kubectl> {
        let file = self.dir().join(format!("{}.kubeconfig", uuid::Uuid::new_v4().simple()));
        private_file::write(&file, kubeconfig)?;
        Ok(self.holders_kubectl(&file)?.with_env("KEYPLANE_API_KEY", key.plaintext()?))
    }

    /// Decrypts the key that is sealed in an ApiKey's status with the program `age`, as its owner would.
    ///
    /// # Errors
    /// When nothing is sealed there, or this private key does not open it; the message is age's.
    pub async fn unsealed_key(&self, name: &str, private_file: &Path) -> Result<HeldKey> {
        let status = self.stored_key(name).await?.status.unwrap_or_default();
        let sealed = status.sealed_key.with_context(|| format!("nothing is sealed for ApiKey {name}"))?;
        let program = programs::on_path("age")
            .context("age is needed to open sealed keys: install it (Debian: age) or put it on PATH")?;
        let mut age = Command::new(program)
            .arg("-d")
            .arg("-i")
            .arg(private_file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut input = age.stdin.take().context("age has no standard input")?;
        // age ends early when no identity fits; what it says then is the better message.
        let _ = input.write_all(sealed.as_bytes()).await;
        drop(input);
        let output = age.wait_with_output().await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let plaintext = std::str::from_utf8(&output.stdout)?;
        plaintext_registry::key(plaintext)?;
        self.keep(name, plaintext)
    }

    /// Keeps a key as its holder does. Each has a file of its own: a rotation makes another under the same name.
    pub(super) fn keep(&self, name: &str, plaintext: &str) -> Result<HeldKey> {
        let file = self.dir().join(format!("{name}-{}.key", uuid::Uuid::new_v4().simple()));
        private_file::write(&file, plaintext)?;
        Ok(HeldKey { name: name.to_owned(), file })
    }
}
