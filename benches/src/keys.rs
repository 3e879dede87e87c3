//! The keys, and the objects that stand for them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use keyplane_core::api_key::{KeyRecord, VERSIONS_ANNOTATION, Version};
use keyplane_core::key_format::{KeyDigest, KeyType, PlaintextKey};
use keyplane_core::ownership::identity_name;
use keyplane_crds::{ApiKey, IDENTITIES_NAMESPACE};
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::pki::Pki;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

/// So many keys an account may have.
const KEYS_OF_AN_ACCOUNT: usize = 50;
/// So many puts go into one transaction of etcd's; it takes 128.
const PUTS: usize = 100;
/// How many keys are made through the API server to see how long that would take.
const SAMPLE: u32 = 300;

/// Files with one key a line, readable by their owner.
pub(crate) struct Keys {
    digests: Vec<KeyDigest>,
    /// Those that are declared.
    pub(crate) good: PathBuf,
    /// As many that nobody knows.
    pub(crate) bad: PathBuf,
    /// Both in turn.
    pub(crate) mixed: PathBuf,
    /// The good ones as nginx's `map` wants them.
    pub(crate) map: PathBuf,
}

impl Keys {
    /// Makes them.
    pub(crate) fn make(count: usize, dir: &Path) -> Result<Self> {
        let path = |name: &str| dir.join(name);
        let keys = Self {
            digests: Vec::new(),
            good: path("good"),
            bad: path("bad"),
            mixed: path("mixed"),
            map: path("map"),
        };
        let mut files = Vec::new();
        for path in [&keys.good, &keys.bad, &keys.mixed, &keys.map] {
            let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            files.push(std::io::BufWriter::new(file));
        }
        let [good_file, bad_file, mixed_file, map_file] = files.as_mut_slice() else {
            anyhow::bail!("four files");
        };
        let mut digests = Vec::with_capacity(count);
        for _ in 0..count {
            let good = PlaintextKey::generate(&KeyType::account(), getrandom::fill)?;
            let bad = PlaintextKey::generate(&KeyType::account(), getrandom::fill)?;
            writeln!(good_file, "{}", good.expose())?;
            writeln!(bad_file, "{}", bad.expose())?;
            writeln!(mixed_file, "{}\n{}", good.expose(), bad.expose())?;
            writeln!(map_file, "{} 1;", good.expose())?;
            digests.push(good.digest());
        }
        for file in &mut files {
            file.flush()?;
        }
        Ok(Self { digests, ..keys })
    }

    /// Puts the objects of all keys into the cluster's etcd, as its API server would.
    pub(crate) fn put_into_etcd(&self, cluster: &ControlPlane) -> Result<()> {
        let etcd = Etcd::of(cluster)?;
        let numbered: Vec<(usize, &KeyDigest)> = self.digests.iter().enumerate().collect();
        for some in numbered.chunks(PUTS / 2) {
            let mut puts = Vec::with_capacity(PUTS);
            for (number, digest) in some {
                let account = format!("bench-{}", number / KEYS_OF_AN_ACCOUNT);
                let (name, uid) = (format!("key-{number}"), uuid::Uuid::new_v4().to_string());
                puts.push((
                    format!("/registry/keyplane.dev/apikeys/{account}/{name}"),
                    api_key(&account, &name, &uid, digest),
                ));
                let identity = identity_name(&uid);
                let path = format!("/registry/serviceaccounts/{IDENTITIES_NAMESPACE}/{identity}");
                puts.push((path, service_account(&account, &name, &uid, digest)));
            }
            etcd.put(&puts)?;
        }
        Ok(())
    }
}

/// A key that the controller has made Ready.
fn api_key(account: &str, name: &str, uid: &str, digest: &KeyDigest) -> Value {
    let now = now();
    json!({
        "apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey",
        "metadata": {
            "name": name, "namespace": account, "uid": uid, "generation": 1, "creationTimestamp": now,
            "finalizers": ["keyplane.dev/cleanup"],
        },
        "spec": {"displayName": name, "digest": digest.to_string(), "scope": {"inference": true}},
        "status": {
            "state": "Active", "access": "inference", "observedGeneration": 1,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Active", "message": "the key can be used",
                "observedGeneration": 1, "lastTransitionTime": now,
            }],
        },
    })
}

/// The ServiceAccount with the key's record.
fn service_account(account: &str, name: &str, uid: &str, digest: &KeyDigest) -> Value {
    let record = KeyRecord {
        sequence: 1,
        admitted_under: 50,
        live: Some(Version {
            number: 1,
            digest: digest.to_string(),
            prefix: None,
            since: Utc::now(),
            requested_at: None,
        }),
        ..KeyRecord::default()
    };
    let annotations = BTreeMap::from([
        (VERSIONS_ANNOTATION.to_owned(), record.to_annotation()),
        ("keyplane.dev/owner".to_owned(), format!("ApiKey {account}/{name}")),
    ]);
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {
            "name": identity_name(uid), "namespace": IDENTITIES_NAMESPACE, "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": now(), "annotations": annotations,
            "labels": {
                "app.kubernetes.io/managed-by": "keyplane", "keyplane.dev/account": account,
                "keyplane.dev/owner-kind": "ApiKey", "keyplane.dev/owner-uid": uid,
            },
        },
    })
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// etcd's HTTP gateway.
struct Etcd {
    agent: ureq::Agent,
    url: String,
}

impl Etcd {
    fn of(cluster: &ControlPlane) -> Result<Self> {
        let pki = Pki::in_dir(&cluster.dir().join("pki"));
        let pem =
            |path: PathBuf| std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
        let chain = [Certificate::from_pem(&pem(pki.certificate("etcd-client"))?)?];
        let key = PrivateKey::from_pem(&pem(pki.key("etcd-client"))?)?;
        let authority = Certificate::from_pem(&pem(pki.etcd_ca())?)?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&[authority]))
            .client_cert(Some(ClientCert::new_with_certs(&chain, key)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = ureq::Agent::config_builder().tls_config(tls).proxy(None).build();
        Ok(Self { agent: agent.into(), url: cluster.etcd_url()? })
    }

    fn put(&self, puts: &[(String, Value)]) -> Result<()> {
        let operations: Vec<Value> = puts
            .iter()
            .map(|(path, object)| {
                let value = STANDARD.encode(object.to_string());
                json!({"requestPut": {"key": STANDARD.encode(path), "value": value}})
            })
            .collect();
        let body = json!({"success": operations}).to_string();
        let answer =
            self.agent.post(format!("{}/v3/kv/txn", self.url)).send(body)?.body_mut().read_to_string()?;
        let answer: Value = serde_json::from_str(&answer)?;
        ensure!(answer.get("succeeded") == Some(&Value::Bool(true)), "{answer}");
        Ok(())
    }
}

/// How many ApiKeys a second the API server takes, of its administrator.
pub(crate) async fn rate_of_creation(client: &Client) -> Result<f64> {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "sample"}}))?;
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let keys: Api<ApiKey> = Api::namespaced(client.clone(), "sample");
    let began = Instant::now();
    futures::stream::iter(0..SAMPLE)
        .map(|number| {
            let keys = keys.clone();
            async move {
                let key: ApiKey = serde_json::from_value(json!({
                    "apiVersion": "keyplane.dev/v1alpha1", "kind": "ApiKey",
                    "metadata": {"name": format!("key-{number}")},
                    "spec": {"digest": KeyDigest::of(&number.to_be_bytes()).to_string(), "scope": {"inference": true}},
                }))?;
                anyhow::Ok(keys.create(&PostParams::default(), &key).await?)
            }
        })
        .buffer_unordered(32)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(f64::from(SAMPLE) / began.elapsed().as_secs_f64())
}
