//! Decoding that no single object can spoil.
//!
//! kube's own guard survives a bad spec, but not bad metadata; and whoever may patch one RoleBinding can write times
//! into `metadata.managedFields` that the API server stores and no client can parse (`10000-01-01T…`). One such object
//! would stop every list of its kind, and with it every reconciler.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// An object as it came, or what could be read of it.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<K>(pub(crate) Result<K, Box<Unreadable>>);

/// An object that cannot be decoded.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    /// Why.
    pub(crate) error: String,
    /// Its name, namespace, UID and version, as far as they are there.
    pub(crate) metadata: ObjectMeta,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        // Large, and nothing here reads them.
        if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        let metadata = bare_metadata(&value);
        Ok(Self(
            serde_json::from_value(value)
                .map_err(|error| Box::new(Unreadable { error: error.to_string(), metadata })),
        ))
    }
}

impl<K: Serialize> Serialize for Guarded<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok(object) => object.serialize(serializer),
            Err(unreadable) => Err(serde::ser::Error::custom(&unreadable.error)),
        }
    }
}

/// What identifies the object, read field by field: none can spoil another.
fn bare_metadata(value: &Value) -> ObjectMeta {
    let text = |name: &str| {
        value.pointer(&format!("/metadata/{name}")).and_then(Value::as_str).map(ToOwned::to_owned)
    };
    ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        ..ObjectMeta::default()
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::rbac::v1::RoleBinding;
    use serde_json::json;

    use super::*;

    #[test]
    fn unreadable_managed_fields_do_not_spoil_the_object() {
        let guarded: Guarded<RoleBinding> = serde_json::from_value(json!({
            "metadata": {"name": "a", "managedFields": [{"time": "10000-01-01T23:58:59Z"}]},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        }))
        .unwrap();
        assert_eq!(guarded.0.unwrap().metadata.name.as_deref(), Some("a"));
    }

    #[test]
    fn what_cannot_be_decoded_still_says_which_object_it_is() {
        let guarded: Guarded<RoleBinding> = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "b", "resourceVersion": "7", "creationTimestamp": "never"},
            "roleRef": 1,
        }))
        .unwrap();
        let metadata = guarded.0.unwrap_err().metadata;
        assert_eq!((metadata.name.as_deref(), metadata.namespace.as_deref()), (Some("a"), Some("b")));
        assert_eq!(metadata.resource_version.as_deref(), Some("7"));
    }
}
