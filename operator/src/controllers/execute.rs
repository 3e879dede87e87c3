//! Carries out a plan's steps, one request each, and never more than the plan says.

use std::fmt::Display;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, Namespace, ResourceQuota, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use keyplane_core::api_key::Tombstone;
use keyplane_core::child::{Child, ChildKind, ChildRef};
use keyplane_core::ownership::FINALIZER;
use keyplane_core::plan::Action;
use keyplane_core::readiness::Status;
use keyplane_crds::IDENTITIES_NAMESPACE;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::error::ReconcileError;
use crate::index::Guarded;

/// An object as the API server answers a write: only looked at where the plan needs it, and never able to spoil a
/// write that succeeded.
type Answered = Guarded<DynamicObject>;

/// The name under which the controller owns fields.
pub(super) const FIELD_MANAGER: &str = "keyplane-controller";

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Makes a request, but not for longer than a request may take.
pub(super) async fn within_limit<T>(
    object: &impl Display,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ReconcileError> {
    match tokio::time::timeout(REQUEST_LIMIT, request).await {
        Ok(result) => result.map_err(|error| ReconcileError::of(object, error)),
        Err(_) => Err(ReconcileError::Unreachable(format!(
            "{object}: no answer within {} s",
            REQUEST_LIMIT.as_secs()
        ))),
    }
}

/// Makes or mends an object. Both are refused by the API server when the object is not the one the plan saw.
pub(crate) async fn write_child(client: &Client, action: &Action) -> Result<(), ReconcileError> {
    match action {
        Action::Create(desired) => {
            let reference = desired.reference();
            let api = child_api(client, &reference);
            let object = Guarded(Ok(dynamic(&reference, desired.to_value())?));
            let params =
                PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            within_limit(&reference, api.create(&params, &object)).await?;
            tracing::info!(child = %reference, "created");
            Ok(())
        }
        Action::Update { desired, uid, resource_version } => {
            let api = child_api(client, &desired.reference());
            if desired.kind() == ChildKind::ResourceQuota {
                restate(&api, desired, uid).await?;
            } else {
                apply(&api, desired, uid, resource_version.as_deref()).await?;
            }
            tracing::info!(child = %desired.reference(), "mended");
            Ok(())
        }
        Action::Delete { child, uid } => delete_child(client, child, uid).await,
        Action::Release { child, uid } => release_child(client, child, uid).await,
        Action::Remember(tombstone) => remember(client, tombstone).await,
        // These are about the resource itself.
        Action::AddFinalizer | Action::RemoveFinalizer | Action::Issue(_) => Ok(()),
    }
}

async fn apply(
    api: &Api<Answered>,
    desired: &Child,
    uid: &str,
    resource_version: Option<&str>,
) -> Result<(), ReconcileError> {
    let reference = desired.reference();
    let mut value = desired.to_value();
    // With a UID, apply never makes an object and never touches another that has the name now.
    set(&mut value, "/metadata", "uid", json!(uid));
    if let Some(version) = resource_version {
        set(&mut value, "/metadata", "resourceVersion", json!(version));
    }
    let params = PatchParams::apply(FIELD_MANAGER).force();
    within_limit(&reference, api.patch(&reference.name, &params, &Patch::Apply(value))).await.map(drop)
}

/// Makes a quota's limits exactly what is desired. Apply would leave a limit that another manager added, or that
/// the object was created with; a merge patch names what must go.
async fn restate(api: &Api<Answered>, desired: &Child, uid: &str) -> Result<(), ReconcileError> {
    let reference = desired.reference();
    let live = within_limit(&reference, api.get(&reference.name)).await?;
    if live.uid().as_deref() != Some(uid) {
        return Err(ReconcileError::Stale(format!("{reference} is another object now")));
    }
    let mut patch = desired.to_value();
    set(&mut patch, "/metadata", "resourceVersion", json!(live.resource_version()));
    let known =
        live.0.as_ref().ok().and_then(|live| live.data.pointer("/spec/hard")).and_then(Value::as_object);
    let known = known.cloned().unwrap_or_default();
    if let Some(Value::Object(hard)) = patch.pointer_mut("/spec/hard") {
        without_the_rest(hard, &known);
    }
    within_limit(&reference, api.patch(&reference.name, &as_manager(), &Patch::Merge(patch))).await.map(drop)
}

/// A patch in the controller's name.
pub(super) fn as_manager() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Completes a merge patch: what is stored and not wanted is named with null, which removes it, at every depth.
fn without_the_rest(wanted: &mut Map<String, Value>, stored: &Map<String, Value>) {
    for (name, stored) in stored {
        match (wanted.get_mut(name), stored) {
            (Some(Value::Object(wanted)), Value::Object(stored)) => without_the_rest(wanted, stored),
            (Some(_), _) => {}
            (None, _) => drop(wanted.insert(name.clone(), Value::Null)),
        }
    }
}

/// Adds a digest to those that are remembered as revoked. Nothing is ever taken out, so no precondition is needed.
async fn remember(client: &Client, tombstone: &Tombstone) -> Result<(), ReconcileError> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), IDENTITIES_NAMESPACE);
    let name = format!("ConfigMap {}", tombstone.shard);
    let patch = Patch::Merge(json!({"data": {tombstone.entry(): tombstone.note}}));
    let written = within_limit(&name, async {
        match api.patch(&tombstone.shard, &as_manager(), &patch).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            other => other.map(|_| true),
        }
    });
    let written = match written.await {
        // The policy lets nobody change an entry. One that is there already is what is wanted.
        Err(ReconcileError::Refused(_)) if is_remembered(&api, tombstone).await? => true,
        other => other?,
    };
    if !written {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        within_limit(&name, api.create(&params, &tombstone.first_of_shard())).await?;
    }
    tracing::info!(digest = tombstone.digest, "remembered as revoked");
    Ok(())
}

async fn is_remembered(api: &Api<ConfigMap>, tombstone: &Tombstone) -> Result<bool, ReconcileError> {
    let shard = within_limit(&tombstone.shard, api.get_opt(&tombstone.shard)).await?;
    Ok(shard.and_then(|shard| shard.data).is_some_and(|data| data.contains_key(tombstone.entry())))
}

async fn delete_child(client: &Client, child: &ChildRef, uid: &str) -> Result<(), ReconcileError> {
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::background()
    };
    let deleted = within_limit(child, async {
        match child_api(client, child).delete(&child.name, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop),
        }
    })
    .await;
    if deleted.is_ok() {
        tracing::info!(%child, "deleted");
    }
    deleted
}

/// Takes off what keeps a deleted right in being: other people's finalizers, and the subjects meanwhile.
async fn release_child(client: &Client, child: &ChildRef, uid: &str) -> Result<(), ReconcileError> {
    let api = child_api(client, child);
    let Some(live) = within_limit(child, api.get_opt(&child.name)).await? else { return Ok(()) };
    if live.uid().as_deref() != Some(uid) {
        return Ok(());
    }
    let mut patch = json!({"metadata": {"resourceVersion": live.resource_version(), "finalizers": null}});
    if child.kind == ChildKind::RoleBinding {
        set(&mut patch, "", "subjects", Value::Null);
    }
    within_limit(child, api.patch(&child.name, &as_manager(), &Patch::Merge(patch))).await?;
    tracing::info!(%child, "released from finalizers of others");
    Ok(())
}

/// Writes the finalizers of a resource, if it has not changed since it was seen.
pub(crate) async fn set_finalizer<K>(api: &Api<K>, object: &K, wanted: bool) -> Result<(), ReconcileError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut finalizers = object.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    if wanted {
        finalizers.push(FINALIZER.to_owned());
    }
    let patch = json!({"metadata": {
        "uid": object.uid(), "resourceVersion": object.resource_version(), "finalizers": finalizers,
    }});
    let request = async {
        match api.patch(&object.name_any(), &as_manager(), &Patch::Merge(patch)).await {
            // What is gone needs no finalizer.
            Err(kube::Error::Api(status)) if status.code == 404 && !wanted => Ok(()),
            other => other.map(drop),
        }
    };
    within_limit(&own_reference(object), request).await
}

/// Writes a resource's status, if the resource has not changed since it was seen. Not by apply: that would leave
/// standing what somebody else wrote into the status, and only the controller has a say in it.
pub(crate) async fn write_status<K, S>(
    api: &Api<K>,
    object: &K,
    stored: Option<&S>,
    status: &S,
) -> Result<(), ReconcileError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    S: Status + Serialize,
{
    let mut wanted = json!(status);
    if let (Value::Object(wanted), Value::Object(stored)) = (&mut wanted, json!(stored)) {
        without_the_rest(wanted, &stored);
    }
    let patch = json!({"metadata": {"resourceVersion": object.resource_version()}, "status": wanted});
    let request = async {
        match api.patch_status(&object.name_any(), &as_manager(), &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop),
        }
    };
    within_limit(&own_reference(object), request).await
}

/// Reads a resource anew and says whether it is still as it was seen, before anything is given for it.
pub(crate) async fn is_current<K>(api: &Api<K>, object: &K) -> Result<bool, ReconcileError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let live = within_limit(&own_reference(object), api.get_metadata_opt(&object.name_any())).await?;
    Ok(live.is_some_and(|live| {
        live.metadata.uid == object.meta().uid
            && live.metadata.generation == object.meta().generation
            && live.metadata.deletion_timestamp == object.meta().deletion_timestamp
    }))
}

/// A resource of ours in error messages.
fn own_reference<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{} {}/{}", K::kind(&()), object.namespace().unwrap_or_default(), object.name_any())
}

fn dynamic(reference: &ChildRef, value: Value) -> Result<DynamicObject, ReconcileError> {
    serde_json::from_value(value).map_err(|error| ReconcileError::Refused(format!("{reference}: {error}")))
}

fn set(value: &mut Value, pointer: &str, name: &str, to: Value) {
    if let Some(Value::Object(fields)) = value.pointer_mut(pointer) {
        fields.insert(name.to_owned(), to);
    }
}

fn child_api(client: &Client, child: &ChildRef) -> Api<Answered> {
    let resource = match child.kind {
        ChildKind::Namespace => ApiResource::erase::<Namespace>(&()),
        ChildKind::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
        ChildKind::Secret => ApiResource::erase::<Secret>(&()),
        ChildKind::RoleBinding => ApiResource::erase::<RoleBinding>(&()),
        ChildKind::ResourceQuota => ApiResource::erase::<ResourceQuota>(&()),
        ChildKind::LimitRange => ApiResource::erase::<LimitRange>(&()),
        ChildKind::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
    };
    match &child.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}
