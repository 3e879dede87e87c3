//! Decoding that no single object can spoil.
//!
//! kube's own guard survives a bad spec, but not bad metadata; and whoever may patch one RoleBinding can write times
//! into `metadata.managedFields` that the API server stores and no client can parse (`10000-01-01T…`). One such object
//! would stop every list of its kind, and with it every reconciler.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

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
        if let Some(fields) = value.pointer_mut("/metadata/managedFields") {
            *fields = authors_of_spec(fields);
        }
        let metadata = bare_metadata(&value);
        Ok(Self(
            serde_json::from_value(value)
                .map_err(|error| Box::new(Unreadable { error: error.to_string(), metadata })),
        ))
    }
}

/// Of the managed fields, which are large, what is read: who wrote something in `spec`, and whether that was `revoked`.
/// An entry that cannot be read is left out.
fn authors_of_spec(fields: &Value) -> Value {
    let entries = fields.as_array().into_iter().flatten().filter_map(|entry| {
        let spec = entry.pointer("/fieldsV1/f:spec")?;
        let revoked = spec.get("f:revoked").map_or_else(|| json!({}), |_| json!({"f:revoked": {}}));
        let mut entry = entry.clone();
        entry.as_object_mut()?.insert("fieldsV1".to_owned(), json!({"f:spec": revoked}));
        serde_json::from_value::<ManagedFieldsEntry>(entry.clone()).is_ok().then_some(entry)
    });
    Value::Array(entries.collect())
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
    use keyplane_crds::ApiKey;

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
    fn who_wrote_the_spec_is_kept_and_an_unreadable_entry_spoils_no_other() {
        let entry = |manager: &str, time: &str, fields: Value| {
            json!({"manager": manager, "operation": "Update", "apiVersion": "keyplane.dev/v1alpha1", "time": time,
                "fieldsType": "FieldsV1", "fieldsV1": fields})
        };
        let guarded: Guarded<ApiKey> = serde_json::from_value(json!({
            "metadata": {"name": "a", "managedFields": [
                entry("kubectl", "2026-11-21T10:00:00Z", json!({"f:spec": {"f:revoked": {}, "f:scope": {"f:all": {}}}})),
                entry("hostile", "10000-01-01T23:58:59Z", json!({"f:spec": {"f:revoked": {}}})),
                entry("keyplane-controller", "2026-11-21T10:00:01Z", json!({"f:status": {"f:state": {}}})),
            ]},
            "spec": {"scope": {"all": true}},
        }))
        .unwrap();
        let entries = guarded.0.unwrap().metadata.managed_fields.unwrap();
        let managers: Vec<_> = entries.iter().filter_map(|entry| entry.manager.as_deref()).collect();
        assert_eq!(managers, ["kubectl"]);
        assert_eq!(entries[0].fields_v1.as_ref().unwrap().0, json!({"f:spec": {"f:revoked": {}}}));
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
