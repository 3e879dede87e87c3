//! What the exchange says about the cluster. It is another machine's word: only the API server's address and CA and some
//! names are taken from it, and each is checked. How the key is found and where it may go is never its to say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use ureq::http::Uri;

use crate::argument_values::namespace_name;
use crate::exchange::port::port_of;

/// Characters of a URL or a name in an answer.
const TEXT_MAX: usize = 1024;

/// What is taken from an issued kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The cluster's name there.
    pub cluster_name: String,
    /// The API server's URL, https.
    pub cluster_server: String,
    /// Its CA, base64 of PEM.
    pub cluster_ca: Option<String>,
    /// The core Namespaces that the key reaches.
    pub namespaces: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    clusters: Vec<Named>,
    #[serde(default)]
    contexts: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    cluster: Option<Cluster>,
    context: Option<Context>,
}

#[derive(Deserialize)]
struct Cluster {
    server: String,
    #[serde(rename = "certificate-authority-data")]
    ca: Option<String>,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    namespace: Option<String>,
}

impl Issued {
    /// Reads the kubeconfig that the exchange issued: its first cluster, and the contexts of it.
    ///
    /// # Errors
    /// What is wrong with it, without its own words.
    pub fn parse(answer: &[u8]) -> Result<Self, &'static str> {
        // By way of a JSON value, as every kubeconfig is read: another YAML reader would double that part of the program.
        let config = serde_saphyr::from_str::<Value>(str::from_utf8(answer).unwrap_or("?"));
        let config = config.ok().and_then(|config| serde_json::from_value::<Config>(config).ok());
        let config = config.ok_or("it is no kubeconfig")?;
        let first = config.clusters.into_iter().next().ok_or("it names no cluster")?;
        let (name, cluster) = (first.name, first.cluster.ok_or("its cluster has no content")?);
        let namespaces: Vec<String> = {
            let contexts = config.contexts.into_iter().filter_map(|named| named.context);
            contexts
                .filter(|context| context.cluster == name)
                .filter_map(|context| context.namespace)
                .collect()
        };
        if !is_name(&name) {
            return Err("its cluster's name is not plain text");
        }
        if !is_https(&cluster.server) {
            return Err("its API server's address is no https URL");
        }
        if !cluster.ca.as_deref().is_none_or(is_certificate) {
            return Err("its API server's CA is no certificate");
        }
        if !namespaces.iter().all(|namespace| namespace_name(namespace).is_ok()) {
            return Err("a namespace's name in it is none");
        }
        Ok(Self { cluster_name: name, cluster_server: cluster.server, cluster_ca: cluster.ca, namespaces })
    }
}

/// A name that needs no quotes anywhere.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'/' | b'@');
    (1..=TEXT_MAX).contains(&text.len())
        && text.bytes().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_https(text: &str) -> bool {
    text.len() <= TEXT_MAX
        && !text.contains(['@', '#', '?'])
        // The parser lets other bytes pass in a path: those that turn the text on a terminal among them.
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.parse::<Uri>().is_ok_and(|uri| uri.scheme_str() == Some("https") && names_a_place(&uri))
}

/// Whether a URL has a host, and no port or a sound one.
pub(super) fn names_a_place(url: &Uri) -> bool {
    url.host().is_some_and(|host| !host.is_empty())
        && url.authority().is_some_and(|authority| port_of(authority).is_ok())
}

fn is_certificate(text: &str) -> bool {
    let marker = b"-----BEGIN CERTIFICATE-----";
    STANDARD.decode(text).is_ok_and(|pem| pem.windows(marker.len()).any(|window| window == marker))
}
