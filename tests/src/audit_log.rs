//! What the API server recorded about the requests it answered.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The audit log of a control plane: one record for each answered request, at level Metadata (who, what, when
/// and the answer's code; no contents). audit.k8s.io/v1.
#[derive(Debug, Clone)]
pub struct AuditLog {
    path: PathBuf,
}

/// A place in the log: what is recorded afterwards is new.
#[derive(Debug, Clone, Copy)]
pub struct Mark(u64);

/// One answered request.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, …
    pub verb: String,
    /// The path and query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// Who asked.
    pub user: AuditUser,
    /// What was asked for, unless the request names no resource.
    pub object_ref: Option<ObjectRef>,
    /// What was answered.
    pub response_status: Option<ResponseStatus>,
    /// The client's own name for itself.
    pub user_agent: Option<String>,
    /// When the request arrived, RFC 3339 with microseconds.
    pub request_received_timestamp: String,
    /// `authentication.kubernetes.io/issued-credential-id` names the `jti` of a minted token.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// Who asked.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct AuditUser {
    /// `system:serviceaccount:keyplane-system:keyplane-api`, for instance.
    #[serde(default)]
    pub username: String,
    /// `authentication.kubernetes.io/credential-id` names the `jti` of the token used.
    #[serde(default)]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The resource of a request; empty strings where it names none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// The API group, empty for the core group.
    pub api_group: String,
    /// The plural name, `serviceaccounts` for instance.
    pub resource: String,
    /// `token` or `status`, for instance.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

/// The HTTP status of an answer.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct ResponseStatus {
    /// 200, 403, …
    pub code: u16,
}

impl AuditEvent {
    /// Whether the request could change an object.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}

impl AuditLog {
    /// The log in this file.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    /// The end of the log as it is now.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn mark(&self) -> Result<Mark> {
        let metadata =
            self.path.metadata().with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(Mark(metadata.len()))
    }

    /// All requests answered after the mark, in the order of their answers. A request whose answer the client
    /// has already seen is in it or comes within milliseconds: wait for what you look for.
    ///
    /// # Errors
    /// When the log cannot be read, or a line is no audit record.
    pub fn since(&self, mark: Mark) -> Result<Vec<AuditEvent>> {
        let mut text = String::new();
        let mut file =
            File::open(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        file.seek(SeekFrom::Start(mark.0))?;
        file.read_to_string(&mut text)?;
        // The server may be in the middle of the last line.
        let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
        whole
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("no audit record: {line}")))
            .collect()
    }
}
