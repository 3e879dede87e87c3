//! When all is quiet, HTTP, the resources and what was made for them tell the same.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use k8s_openapi::api::core::v1::{Namespace as CoreNamespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use keyplane_core::ownership::{ACCOUNT_LABEL, anchor_name, identity_name, key_binding_name};
use keyplane_crds::{ApiKey, IDENTITIES_NAMESPACE, Namespace};
use keyplane_tests::http_api::HttpApi;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::client::KEYS;
use super::spaces::NAMESPACES;
use super::stage::{NAMESPACES as MOST_NAMESPACES, Place};

/// What stands for one account: by place and name.
type Made = BTreeSet<String>;

/// What an account has in the end.
pub(super) struct Found {
    pub(super) live: BTreeSet<String>,
    pub(super) keys: usize,
    pub(super) bindings: usize,
}

/// Waits until everything agrees, and looks once more.
pub(super) async fn until_agreed(place: &Place, https: &[HttpApi; 2], admin: &Client) -> Result<Found> {
    until(&format!("{} to be in agreement", place.account), PATIENCE, || async {
        Ok(match found(place, https, admin).await? {
            Ok(found) => Seen::Done(found),
            Err(differing) => Seen::NotYet(differing),
        })
    })
    .await?;
    found(place, https, admin).await?.map_err(|differing| anyhow::anyhow!("not any more: {differing}"))
}

async fn found(place: &Place, https: &[HttpApi; 2], admin: &Client) -> Result<Result<Found, String>> {
    let [one, other] = https;
    let lists = [list(place, one, KEYS).await?, list(place, other, KEYS).await?];
    if lists[0] != lists[1] {
        return Ok(Err(format!("the replicas list {} and {}", json!(lists[0]), json!(lists[1]))));
    }
    let spaces = [list(place, one, NAMESPACES).await?, list(place, other, NAMESPACES).await?];
    if spaces[0] != spaces[1] {
        return Ok(Err(format!("the replicas list {} and {}", json!(spaces[0]), json!(spaces[1]))));
    }
    let (keys, spaces) = (&lists[0], &spaces[0]);
    let stored: Vec<ApiKey> = place.keys.list(&ListParams::default()).await?.items;
    let resources: BTreeMap<String, Value> =
        stored.iter().map(|key| (key.uid().unwrap_or_default(), of_resource(key))).collect();
    let over_http: BTreeMap<String, Value> = keys.iter().map(|key| (text(key, "id"), of_http(key))).collect();
    if resources != over_http {
        return Ok(Err(format!("keys: {resources:?} and over HTTP {over_http:?}")));
    }
    let stored_spaces: Vec<Namespace> = place.namespaces.list(&ListParams::default()).await?.items;
    let names: BTreeSet<(String, String)> =
        stored_spaces.iter().map(|one| (one.uid().unwrap_or_default(), one.name_any())).collect();
    let shown: BTreeSet<(String, String)> =
        spaces.iter().map(|one| (text(one, "id"), text(one, "name"))).collect();
    if names != shown || !spaces.iter().all(is_settled) {
        return Ok(Err(format!("namespaces: {names:?} and over HTTP {}", json!(spaces))));
    }

    // One that is too many waits for room, and has nothing.
    let spaces: Vec<&Value> = spaces.iter().filter(|one| one["status"] == "ready").collect();
    ensure!(spaces.len() <= MOST_NAMESPACES, "{} namespaces", spaces.len());
    let live: BTreeSet<String> =
        keys.iter().filter(|key| key["status"] == "active").map(|key| text(key, "id")).collect();
    let mut wanted = Made::from([format!("namespace {}", place.account)]);
    wanted.extend(spaces.iter().map(|one| format!("namespace {}", text(one, "kubernetes_name"))));
    for key in keys.iter().filter(|key| key["status"] == "active") {
        let (id, digest) = (text(key, "id"), digest_of(&stored, &text(key, "id"))?);
        wanted.insert(format!("identity {}", identity_name(&id)));
        wanted.insert(format!("anchor {}", anchor_name(&id, &digest)));
        let exec = &key["scopes"]["kubernetes_exec"];
        let role = exec["role"].as_str().unwrap_or("edit");
        let is_granted = |one: &&&Value| {
            let is_named = exec["namespaces"].as_array().is_some_and(|names| names.contains(&one["name"]));
            exec["all_namespaces"] == true || is_named
        };
        let granted: Vec<String> =
            spaces.iter().filter(is_granted).map(|one| text(one, "kubernetes_name")).collect();
        wanted.extend(
            granted.iter().map(|name| format!("binding {name}/{} keyplane:{role}", key_binding_name(&id))),
        );
        for http in https {
            let path = format!("{KEYS}/{id}");
            let detail = place.call(http, Method::GET, &path, &[], &Value::Null).await?.json();
            let told: BTreeSet<String> = detail["namespaces"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|one| text(one, "kubernetes_name"))
                .collect();
            if told != granted.iter().cloned().collect() {
                return Ok(Err(format!("{detail} is to reach {granted:?}")));
            }
        }
    }
    let made = made_for(place, admin).await?;
    if made != wanted {
        let missing: Vec<&String> = wanted.difference(&made).collect();
        let needless: Vec<&String> = made.difference(&wanted).collect();
        return Ok(Err(format!("missing {missing:?}, needless {needless:?}")));
    }
    let bindings = made.iter().filter(|name| name.starts_with("binding ")).count();
    Ok(Ok(Found { live, keys: keys.len(), bindings }))
}

/// Whether a namespace is what it stays.
fn is_settled(namespace: &Value) -> bool {
    namespace["status"] == "ready" || namespace["reason"] == "LimitReached"
}

async fn list(place: &Place, http: &HttpApi, path: &str) -> Result<Vec<Value>> {
    let answer = place.call(http, Method::GET, path, &[], &Value::Null).await?;
    ensure!(answer.status == 200, "{answer:?}");
    let mut listed = answer.json()["data"].as_array().cloned().context("data")?;
    // A use may be written down between two looks.
    for one in &mut listed {
        one.as_object_mut().and_then(|fields| fields.remove("last_used_at"));
    }
    Ok(listed)
}

/// What was made for an account: everything that has its label, and the bindings of keys in its namespaces.
async fn made_for(place: &Place, admin: &Client) -> Result<Made> {
    let own = ListParams::default().labels(&format!("{ACCOUNT_LABEL}={}", place.account));
    let mut made = Made::new();
    for one in all::<CoreNamespace>(Api::all(admin.clone()), &own).await? {
        made.insert(format!("namespace {}", one.name_any()));
    }
    let identities = Api::<ServiceAccount>::namespaced(admin.clone(), IDENTITIES_NAMESPACE);
    let anchors = Api::<Secret>::namespaced(admin.clone(), IDENTITIES_NAMESPACE);
    for one in all(identities, &own).await? {
        made.insert(format!("identity {}", one.name_any()));
    }
    for one in all(anchors, &own).await? {
        made.insert(format!("anchor {}", one.name_any()));
    }
    for one in all::<RoleBinding>(Api::all(admin.clone()), &ListParams::default()).await? {
        let namespace = one.namespace().unwrap_or_default();
        let is_own = namespace == place.account || namespace.starts_with(&format!("{}-", place.account));
        if is_own && one.name_any().starts_with(&key_binding_name("")) {
            made.insert(format!("binding {namespace}/{} {}", one.name_any(), one.role_ref.name));
        }
    }
    Ok(made)
}

async fn all<K>(api: Api<K>, params: &ListParams) -> Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    Ok(api.list(params).await?.items)
}

fn digest_of(keys: &[ApiKey], id: &str) -> Result<String> {
    let key = keys.iter().find(|key| key.uid().as_deref() == Some(id));
    key.and_then(|key| key.spec.digest.clone()).context("a digest")
}

fn of_resource(key: &ApiKey) -> Value {
    let scope = json!(key.spec.scope);
    let exec = &scope["kubernetesExec"];
    json!({
        "name": key.spec.display_name,
        "status": key.status.as_ref().and_then(|status| status.state).map(|state| json!(state).to_string().to_lowercase()),
        "inference": scope["inference"],
        "role": exec["role"],
        "namespaces": exec["namespaces"],
        "all": exec["allNamespaces"],
        "addresses": key.spec.allowed_cidrs,
        "going": key.metadata.deletion_timestamp.is_some(),
    })
}

fn of_http(key: &Value) -> Value {
    let scopes = &key["scopes"];
    let exec = &scopes["kubernetes_exec"];
    json!({
        "name": key["name"],
        "status": key["status"].to_string(),
        "inference": scopes["inference"],
        "role": exec["role"],
        "namespaces": exec["namespaces"],
        "all": exec["all_namespaces"],
        "addresses": key["allowed_cidrs"],
        "going": false,
    })
}

fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}
