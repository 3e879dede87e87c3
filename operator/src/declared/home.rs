//! The resources of one account, in its home namespace.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::failure::ApiFailure;
use crate::index::Guarded;

/// The name under which the API owns the fields that it writes.
const FIELD_MANAGER: &str = "keyplane-api";
/// How long one request to the API server may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How often a change is tried that others' changes come before.
const ATTEMPTS: usize = 8;

/// A resource that stands in a home namespace.
pub(crate) trait Declared:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Serialize
    + DeserializeOwned
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Declared for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
        + Send
        + Sync
        + 'static
{
}

/// An account's home namespace.
#[derive(Clone)]
pub(crate) struct Home {
    client: Client,
    name: String,
}

impl Home {
    /// The home namespace of the account of this name.
    pub(crate) fn of(client: Client, account: &str) -> Self {
        Self { client, name: account.to_owned() }
    }

    /// Its name, which is the account's.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Everything of a kind, the oldest first. One that cannot be read is left out, and delays no other.
    ///
    /// # Errors
    /// When the API server does not say.
    pub(crate) async fn list<K: Declared>(&self) -> Result<Vec<K>, ApiFailure> {
        let api = Api::<Guarded<K>>::namespaced(self.client.clone(), &self.name);
        let params = ListParams::default();
        let listed = within_limit(api.list(&params)).await?;
        let mut found: Vec<K> = listed.items.into_iter().filter_map(|guarded| guarded.0.ok()).collect();
        found.sort_by(|left, right| {
            let age = |object: &K| object.creation_timestamp().map(|time| time.0);
            (age(left), left.name_any()).cmp(&(age(right), right.name_any()))
        });
        Ok(found)
    }

    /// The one with this id (`metadata.uid`), where it is this account's.
    ///
    /// # Errors
    /// When the API server does not say.
    pub(crate) async fn find<K: Declared>(&self, id: &str) -> Result<Option<K>, ApiFailure> {
        if id.is_empty() {
            return Ok(None);
        }
        Ok(self.list().await?.into_iter().find(|object: &K| object.meta().uid.as_deref() == Some(id)))
    }

    /// The one of this name.
    ///
    /// # Errors
    /// When the API server does not say, or it cannot be read.
    pub(crate) async fn named<K: Declared>(&self, name: &str) -> Result<Option<K>, ApiFailure> {
        let api = Api::<Guarded<K>>::namespaced(self.client.clone(), &self.name);
        within_limit(api.get_opt(name)).await?.map(readable).transpose()
    }

    /// Makes one.
    ///
    /// # Errors
    /// `AlreadyExists` when there is one of this name, `Rejected` when admission refuses it.
    pub(crate) async fn create<K: Declared>(&self, object: K) -> Result<K, ApiFailure> {
        let api = Api::<Guarded<K>>::namespaced(self.client.clone(), &self.name);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        readable(within_limit(api.create(&params, &Guarded(Ok(object)))).await?)
    }

    /// Changes one, by a merge patch that `change` makes of what stands; anew when others changed it meanwhile.
    ///
    /// # Errors
    /// What `change` refuses; `NotFound` when it is gone or another has its name, `Rejected` when admission refuses it.
    pub(crate) async fn change<K: Declared, E: From<ApiFailure>>(
        &self,
        object: K,
        change: impl Fn(&K) -> Result<Value, E>,
    ) -> Result<K, E> {
        let api = Api::<Guarded<K>>::namespaced(self.client.clone(), &self.name);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let mut standing = object;
        for _ in 0..ATTEMPTS {
            let mut patch = change(&standing)?;
            let metadata = standing.meta();
            let Some(fields) = patch.as_object_mut() else { return Err(ApiFailure::Conflict.into()) };
            let pins = json!({"uid": metadata.uid, "resourceVersion": metadata.resource_version});
            match fields.get_mut("metadata").and_then(Value::as_object_mut) {
                Some(given) => given.extend(pins.as_object().cloned().unwrap_or_default()),
                None => drop(fields.insert("metadata".to_owned(), pins)),
            }
            let name = standing.name_any();
            match within_limit(api.patch(&name, &params, &Patch::Merge(&patch))).await {
                Ok(changed) => return Ok(readable(changed)?),
                Err(ApiFailure::Conflict) => {
                    let now = self.named::<K>(&name).await?.ok_or(ApiFailure::NotFound)?;
                    if now.meta().uid != standing.meta().uid {
                        return Err(ApiFailure::NotFound.into());
                    }
                    standing = now;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(ApiFailure::Conflict.into())
    }

    /// Deletes one, and no other of its name. One that is gone is deleted.
    ///
    /// # Errors
    /// When the API server does not do it.
    pub(crate) async fn delete<K: Declared>(&self, object: &K) -> Result<(), ApiFailure> {
        let api = Api::<Guarded<K>>::namespaced(self.client.clone(), &self.name);
        let preconditions = Preconditions { uid: object.meta().uid.clone(), ..Preconditions::default() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match within_limit(api.delete(&object.name_any(), &params)).await {
            // Another of its name is not the one that was meant, which is gone.
            Ok(_) | Err(ApiFailure::NotFound | ApiFailure::Conflict) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}

fn readable<K>(guarded: Guarded<K>) -> Result<K, ApiFailure> {
    guarded.0.map_err(|_| ApiFailure::Unavailable("an object that cannot be read".to_owned()))
}

async fn within_limit<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ApiFailure> {
    match tokio::time::timeout(REQUEST_LIMIT, request).await {
        Ok(result) => result.map_err(ApiFailure::from),
        Err(_) => Err(ApiFailure::late()),
    }
}
