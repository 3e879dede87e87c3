//! The types of `client.authentication.k8s.io`, v1 and v1beta1 (KEP-541), as far as a token plugin needs them.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, FailureKind};
use crate::token::BearerToken;

/// The environment variable in which the client describes its request.
pub const EXEC_INFO_VARIABLE: &str = "KUBERNETES_EXEC_INFO";
/// The `kind` of every object of the protocol.
pub const KIND: &str = "ExecCredential";

/// The version of the protocol that the client speaks; the answer must be of the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiVersion {
    /// `client.authentication.k8s.io/v1`
    #[default]
    V1,
    /// `client.authentication.k8s.io/v1beta1`
    V1Beta1,
}

impl ApiVersion {
    /// The text of `apiVersion`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "client.authentication.k8s.io/v1",
            Self::V1Beta1 => "client.authentication.k8s.io/v1beta1",
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the client asks for.
#[derive(Debug, Default)]
pub struct ExecInfo {
    /// The version to answer in.
    pub api_version: ApiVersion,
    /// Whether a client asks, and not a person by hand.
    pub from_client: bool,
    /// The cluster, when the kubeconfig says `provideClusterInfo: true`.
    pub cluster: Option<Cluster>,
}

/// The cluster that the token is for: `spec.cluster` of the request.
///
/// Only what tells clusters apart and where their exchange is; the rest is between the client and its API server.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cluster {
    /// The API server's URL.
    #[serde(default)]
    pub server: String,
    /// The name in the API server's certificate, when it is not the URL's.
    #[serde(default)]
    pub tls_server_name: String,
    /// The API server's CA, base64 of PEM.
    #[serde(default)]
    pub certificate_authority_data: String,
    /// The proxy to the API server.
    #[serde(default)]
    pub proxy_url: String,
    /// The cluster's extension `client.authentication.k8s.io/exec`.
    #[serde(default)]
    pub config: Option<ExchangeConfig>,
}

/// The cluster's extension `client.authentication.k8s.io/exec`: where the cluster's exchange is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExchangeConfig {
    /// The exchange's URL.
    #[serde(default)]
    pub server: Option<String>,
    /// Absolute path of a PEM file with the exchange's CA.
    #[serde(default)]
    pub certificate_authority: Option<String>,
    /// The exchange's CA, base64 of PEM. Wins over the file.
    #[serde(default)]
    pub certificate_authority_data: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    api_version: String,
    kind: String,
    #[serde(default)]
    spec: RequestSpec,
}

#[derive(Default, Deserialize)]
struct RequestSpec {
    #[serde(default)]
    cluster: Option<Cluster>,
}

impl ExecInfo {
    /// Reads the value of `KUBERNETES_EXEC_INFO`. Total: any text gives a request or a failure.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when it is no `ExecCredential` of a version that this plugin speaks.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |what: String| {
            Failure::new(
                FailureKind::Usage,
                what,
                EXEC_INFO_VARIABLE,
                "set apiVersion: client.authentication.k8s.io/v1 in the kubeconfig's exec section, and check the \
                 cluster's extension client.authentication.k8s.io/exec",
            )
        };
        // The parser's own words could quote a value; its position is enough.
        let request: Request = serde_json::from_str(text).map_err(|error| {
            wrong(format!(
                "the client's request cannot be read at line {} column {}",
                error.line(),
                error.column()
            ))
        })?;
        if request.kind != KIND {
            return Err(wrong(format!("the client's request is a {:?}, not an {KIND}", request.kind)));
        }
        let api_version = [ApiVersion::V1, ApiVersion::V1Beta1]
            .into_iter()
            .find(|version| version.as_str() == request.api_version)
            .ok_or_else(|| {
                wrong(format!(
                    "the client asks for {:?}, which this plugin does not speak",
                    request.api_version
                ))
            })?;
        Ok(Self { api_version, from_client: true, cluster: request.spec.cluster })
    }
}

/// The body of the request to the exchange. It tells nothing about the client's cluster.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialRequest<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: EmptySpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<HeldToken<'a>>,
}

#[derive(Serialize)]
struct EmptySpec {}

#[derive(Serialize)]
struct HeldToken<'a> {
    token: &'a BearerToken,
}

impl<'a> CredentialRequest<'a> {
    /// A request for a token in this version, from somebody who may hold one already.
    #[must_use]
    pub fn new(version: ApiVersion, held: Option<&'a BearerToken>) -> Self {
        let status = held.map(|token| HeldToken { token });
        Self { api_version: version.as_str(), kind: KIND, spec: EmptySpec {}, status }
    }
}

/// The credential as the client reads it from the plugin's standard output.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Credential<'a> {
    api_version: &'static str,
    kind: &'static str,
    status: CredentialStatus<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CredentialStatus<'a> {
    expiration_timestamp: String,
    token: &'a BearerToken,
}

impl<'a> Credential<'a> {
    /// A token with its end on the local clock, in whole seconds, rounded down.
    #[must_use]
    pub fn new(version: ApiVersion, token: &'a BearerToken, expires_at: DateTime<Utc>) -> Self {
        Self {
            api_version: version.as_str(),
            kind: KIND,
            status: CredentialStatus {
                expiration_timestamp: expires_at.to_rfc3339_opts(SecondsFormat::Secs, true),
                token,
            },
        }
    }
}
