//! The kubeconfigs that Keyplane makes: delivered with a key, or downloaded. They call the credential plugin.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyplane_core::key_format::{KeyDigest, PlaintextKey};
use serde_json::{Value, json};
use thiserror::Error;
use zeroize::Zeroizing;

/// What kubectl prints when the plugin is not installed; `kubectl-keyplane kubeconfig` writes the same.
const INSTALL_HINT: &str = "kubectl-keyplane is not on PATH. Install it with: kubectl krew install keyplane, or put \
                            the kubectl-keyplane of Keyplane's release page on PATH";

/// The name of the cluster and of the user in a kubeconfig, and of the context when there is no namespace.
const NAME: &str = "keyplane";

/// How users reach the cluster and Keyplane.
#[derive(Clone, Debug, Default)]
pub(crate) struct KubeconfigSettings {
    /// The API server's URL.
    pub(crate) cluster_server: String,
    /// The API server's CA (PEM), where it is not one that everybody trusts.
    pub(crate) cluster_ca: Option<Vec<u8>>,
    /// The URL of Keyplane's API; without it there is no kubeconfig.
    pub(crate) public_url: Option<String>,
    /// The file with the CA of Keyplane's API (PEM). It is read for each kubeconfig: `keyplane all` may have written it
    /// after its start, and a CA is renewed.
    pub(crate) public_ca_file: Option<PathBuf>,
}

/// Why a kubeconfig cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum KubeconfigError {
    /// The file with the CA of Keyplane's API.
    #[error("--public-ca-file {0}")]
    UnreadableCa(String),
    /// It cannot be written as YAML. Nothing of the content is in the message.
    #[error("a kubeconfig cannot be written down")]
    Unwritable,
}

impl KubeconfigSettings {
    /// A kubeconfig with one context for each core Namespace, which calls the credential plugin: with this key in it, or
    /// with the one that its user has in `KEYPLANE_API_KEY`. None where users' way to Keyplane is not configured.
    ///
    /// # Errors
    /// When the CA of Keyplane's API cannot be read.
    pub(crate) fn kubeconfig(
        &self,
        namespaces: &[String],
        key: Option<&PlaintextKey>,
    ) -> Result<Option<Zeroizing<String>>, KubeconfigError> {
        let Some(public_url) = &self.public_url else { return Ok(None) };
        let public_url = public_url.trim_end_matches('/');
        let mut exchange = json!({"server": public_url});
        let mut allowed = public_url.to_owned();
        if let Some(pem) = self.public_ca()? {
            set(&mut exchange, "certificateAuthorityData", json!(STANDARD.encode(&pem)));
            // The digest of the PEM pins the CA: `kubectl-keyplane get-token --help`.
            let digest = KeyDigest::of(&pem).to_string();
            allowed = format!("{public_url}#{digest}");
        }
        let mut cluster = json!({
            "server": self.cluster_server,
            "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": exchange}],
        });
        if let Some(pem) = &self.cluster_ca {
            set(&mut cluster, "certificate-authority-data", json!(STANDARD.encode(pem)));
        }
        let mut exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "kubectl-keyplane",
            "args": ["get-token", "--allow-server", allowed],
            "interactiveMode": "Never",
            "provideClusterInfo": true,
            "installHint": INSTALL_HINT,
        });
        if let Some(key) = key {
            set(&mut exec, "env", json!([{"name": "KEYPLANE_API_KEY", "value": key.expose()}]));
        }
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": NAME, "cluster": cluster}],
            "users": [{"name": NAME, "user": {"exec": exec}}],
            "contexts": contexts(namespaces),
            "current-context": namespaces.first().map_or(NAME, String::as_str),
        });
        // In the manner of kubectl: certificates on one line.
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        let text = serde_saphyr::to_string_with_options(&config, options).map(Zeroizing::new);
        wipe(config);
        text.map(Some).map_err(|_| KubeconfigError::Unwritable)
    }

    fn public_ca(&self) -> Result<Option<Vec<u8>>, KubeconfigError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| {
                KubeconfigError::UnreadableCa(format!("{} cannot be read: {error}", path.display()))
            })
        };
        self.public_ca_file.as_ref().map(read).transpose()
    }
}

fn contexts(namespaces: &[String]) -> Vec<Value> {
    if namespaces.is_empty() {
        return vec![json!({"name": NAME, "context": {"cluster": NAME, "user": NAME}})];
    }
    let context = |namespace: &String| json!({"cluster": NAME, "user": NAME, "namespace": namespace});
    namespaces.iter().map(|name| json!({"name": name, "context": context(name)})).collect()
}

fn set(value: &mut Value, name: &str, to: Value) {
    if let Value::Object(fields) = value {
        fields.insert(name.to_owned(), to);
    }
}

/// Overwrites the texts of a value.
fn wipe(value: Value) {
    match value {
        Value::String(text) => drop(Zeroizing::new(text)),
        Value::Array(items) => items.into_iter().for_each(wipe),
        Value::Object(fields) => fields.into_iter().for_each(|(_, field)| wipe(field)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use keyplane_core::key_format::KeyType;

    use super::*;

    fn settings(public_ca_file: Option<PathBuf>) -> KubeconfigSettings {
        KubeconfigSettings {
            cluster_server: "https://cluster.example:6443".to_owned(),
            cluster_ca: Some(b"cluster".to_vec()),
            public_url: Some("https://keyplane.example/".to_owned()),
            public_ca_file,
        }
    }

    fn parsed(settings: &KubeconfigSettings, namespaces: &[&str], key: Option<&PlaintextKey>) -> Value {
        let namespaces: Vec<String> = namespaces.iter().map(|&name| name.to_owned()).collect();
        serde_saphyr::from_str(&settings.kubeconfig(&namespaces, key).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn a_kubeconfig_has_a_context_for_each_namespace_and_pins_the_exchange() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"ca").unwrap();
        let key = PlaintextKey::generate(&KeyType::account(), getrandom::fill).unwrap();
        let config = parsed(&settings(Some(file.path().to_owned())), &["acme-web", "acme-db"], Some(&key));
        assert_eq!(config["current-context"], "acme-web");
        assert_eq!(config["contexts"].as_array().unwrap().len(), 2);
        assert_eq!(config["contexts"][1]["context"]["namespace"], "acme-db");
        let exec = &config["users"][0]["user"]["exec"];
        let digest = KeyDigest::of(b"ca");
        assert_eq!(
            exec["args"],
            json!(["get-token", "--allow-server", format!("https://keyplane.example#{digest}")])
        );
        assert_eq!(exec["env"][0]["value"], key.expose());
    }

    #[test]
    fn without_a_key_the_plugin_takes_its_users_own() {
        let config = parsed(&settings(None), &[], None);
        let exec = &config["users"][0]["user"]["exec"];
        assert!(exec.get("env").is_none());
        assert_eq!(exec["args"], json!(["get-token", "--allow-server", "https://keyplane.example"]));
        assert_eq!(config["current-context"], "keyplane");
        assert_eq!(config["contexts"][0]["context"], json!({"cluster": "keyplane", "user": "keyplane"}));
    }

    #[test]
    fn without_a_way_to_keyplane_there_is_none_and_a_missing_ca_is_told() {
        let nowhere = KubeconfigSettings { public_url: None, ..settings(None) };
        assert_eq!(nowhere.kubeconfig(&[], None), Ok(None));
        let error = settings(Some("/nowhere/ca.crt".into())).kubeconfig(&[], None).unwrap_err();
        assert!(error.to_string().starts_with("--public-ca-file /nowhere/ca.crt cannot be read"), "{error}");
    }
}
