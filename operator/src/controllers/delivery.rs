//! What a delivered Secret holds: the key, and a kubeconfig that is ready for use.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use keyplane_core::api_key::Issue;
use keyplane_core::key_format::{KeyDigest, PlaintextKey};
use keyplane_core::ownership::DIGEST_ANNOTATION;
use keyplane_core::readiness::Reason;
use keyplane_crds::ApiKey;
use kube::Resource;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::error::ReconcileError;

/// The entry of the Secret that holds the key.
const KEY_ENTRY: &str = "key";
/// The entry of the Secret that holds the kubeconfig.
const KUBECONFIG_ENTRY: &str = "kubeconfig";

/// How users reach the cluster and Keyplane.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeliverySettings {
    /// The API server's URL.
    pub(crate) cluster_server: String,
    /// The API server's CA (PEM), where it is not one that everybody trusts.
    pub(crate) cluster_ca: Option<Vec<u8>>,
    /// The URL of Keyplane's API; without it there is no kubeconfig.
    pub(crate) public_url: Option<String>,
    /// The file with the CA of Keyplane's API (PEM). It is read for each key: `keyplane all` may have written it after
    /// its start, and a CA is renewed.
    pub(crate) public_ca_file: Option<PathBuf>,
}

impl DeliverySettings {
    fn public_ca(&self) -> Result<Option<Vec<u8>>, ReconcileError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| {
                let what = format!("--public-ca-file {} cannot be read: {error}", path.display());
                ReconcileError::Undeliverable { reason: Reason::DeliveryConflict, message: what }
            })
        };
        self.public_ca_file.as_ref().map(read).transpose()
    }
}

/// The Secret that a key is delivered in.
///
/// # Errors
/// When the kubeconfig cannot be written down.
pub(super) fn secret_of(
    issue: &Issue,
    name: &str,
    settings: &DeliverySettings,
    key: &PlaintextKey,
) -> Result<Secret, ReconcileError> {
    let mut metadata = issue.owner.child_metadata(Some(&issue.home), name);
    metadata
        .annotations
        .get_or_insert_with(BTreeMap::new)
        .insert(DIGEST_ANNOTATION.to_owned(), key.digest().to_string());
    // With the ApiKey goes the Secret.
    metadata.owner_references = Some(vec![OwnerReference {
        api_version: ApiKey::api_version(&()).into_owned(),
        kind: ApiKey::kind(&()).into_owned(),
        name: issue.name.clone(),
        uid: issue.owner.uid.clone(),
        ..OwnerReference::default()
    }]);
    let mut data = BTreeMap::from([(KEY_ENTRY.to_owned(), ByteString(key.expose().as_bytes().to_vec()))]);
    if let (Some(namespaces), Some(public_url)) = (&issue.namespaces, &settings.public_url) {
        let text = kubeconfig(settings, public_url, namespaces, key)?;
        data.insert(KUBECONFIG_ENTRY.to_owned(), ByteString(text.as_bytes().to_vec()));
    }
    Ok(Secret { metadata, type_: Some("Opaque".to_owned()), data: Some(data), ..Secret::default() })
}

/// A kubeconfig with one context for each namespace, which calls the credential plugin with the key.
fn kubeconfig(
    settings: &DeliverySettings,
    public_url: &str,
    namespaces: &[String],
    key: &PlaintextKey,
) -> Result<Zeroizing<String>, ReconcileError> {
    let public_url = public_url.trim_end_matches('/');
    let mut exchange = json!({"server": public_url});
    let mut allowed = public_url.to_owned();
    if let Some(pem) = settings.public_ca()? {
        set(&mut exchange, "certificateAuthorityData", json!(STANDARD.encode(&pem)));
        // The digest of the PEM pins the CA: `kubectl-keyplane get-token --help`.
        let digest = KeyDigest::of(&pem).to_string();
        allowed = format!("{public_url}#{digest}");
    }
    let mut cluster = json!({
        "server": settings.cluster_server,
        "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": exchange}],
    });
    if let Some(pem) = &settings.cluster_ca {
        set(&mut cluster, "certificate-authority-data", json!(STANDARD.encode(pem)));
    }
    let contexts: Vec<Value> = if namespaces.is_empty() {
        vec![json!({"name": "keyplane", "context": {"cluster": "keyplane", "user": "keyplane"}})]
    } else {
        let context =
            |namespace: &String| json!({"cluster": "keyplane", "user": "keyplane", "namespace": namespace});
        namespaces.iter().map(|name| json!({"name": name, "context": context(name)})).collect()
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "keyplane", "cluster": cluster}],
        "users": [{"name": "keyplane", "user": {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "kubectl-keyplane",
            "args": ["get-token", "--allow-server", allowed],
            "env": [{"name": "KEYPLANE_API_KEY", "value": key.expose()}],
            "interactiveMode": "Never",
            "provideClusterInfo": true,
            "installHint": "kubectl-keyplane is not on PATH: install Keyplane's credential plugin",
        }}}],
        "contexts": contexts,
        "current-context": namespaces.first().map_or("keyplane", String::as_str),
    });
    let text = serde_saphyr::to_string(&config).map(Zeroizing::new);
    wipe(config);
    // Nothing of the content is in the message.
    text.map_err(|_| ReconcileError::Unreachable("a kubeconfig cannot be written down".to_owned()))
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

    fn key() -> PlaintextKey {
        PlaintextKey::generate(&KeyType::account(), getrandom::fill).unwrap()
    }

    #[test]
    fn a_kubeconfig_has_a_context_for_each_namespace_and_pins_the_exchange() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"ca").unwrap();
        let settings = DeliverySettings {
            cluster_server: "https://cluster.example:6443".to_owned(),
            cluster_ca: Some(b"cluster".to_vec()),
            public_url: Some("https://keyplane.example/".to_owned()),
            public_ca_file: Some(file.path().to_owned()),
        };
        let key = key();
        let namespaces = ["acme-web".to_owned(), "acme-db".to_owned()];
        let text = kubeconfig(&settings, "https://keyplane.example/", &namespaces, &key).unwrap();
        let config: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(config["current-context"], "acme-web");
        assert_eq!(config["contexts"].as_array().unwrap().len(), 2);
        let exec = &config["users"][0]["user"]["exec"];
        let digest = KeyDigest::of(b"ca");
        assert_eq!(
            exec["args"],
            json!(["get-token", "--allow-server", format!("https://keyplane.example#{digest}")])
        );
        assert_eq!(exec["env"][0]["value"], key.expose());
    }
}
