//! What an event is about, and who asked for it, read from an object's metadata.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use crate::readiness::ResourceKind;

/// The resource that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    kind: ResourceKind,
    namespace: Option<String>,
    name: String,
    uid: String,
}

impl Subject {
    /// The resource with this metadata.
    #[must_use]
    pub fn new(kind: ResourceKind, metadata: &ObjectMeta) -> Self {
        Self {
            kind,
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
        }
    }

    /// The account: the home namespace has its name.
    pub(super) fn account(&self) -> Option<&str> {
        match self.kind {
            ResourceKind::Account => Some(&self.name),
            _ => self.namespace.as_deref(),
        }
    }

    /// The resource's UID.
    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    /// The resource's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The `CloudEvents` `subject`: `<kind>/<namespace>/<name>`, or `<kind>/<name>`.
    pub(super) fn reference(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}/{namespace}/{}", self.kind.as_str(), self.name),
            None => format!("{}/{}", self.kind.as_str(), self.name),
        }
    }
}

/// Who asked for something, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// The field manager that wrote it. A client chooses this name itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// The user, where Keyplane's API authenticated one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The `metadata.uid` of the `ApiKey` with which it was asked for, where Keyplane's API accepted one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Who last wrote the `spec` of an object: the field manager whose entry is the newest of those that own something in
/// it; of several with one time, the last. Whom the API server knew the client as is in the API server's audit log only.
#[must_use]
pub fn spec_actor(metadata: &ObjectMeta) -> Option<Actor> {
    let newest = metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0.get("f:spec").is_some()))
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    Some(Actor { manager: newest.manager.clone(), ..Actor::default() })
}
