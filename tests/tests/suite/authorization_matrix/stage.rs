//! Two accounts, everybody who may ask about the one, and a replica that they ask.

use anyhow::{Context as _, Result, ensure};
use chrono::{SecondsFormat, TimeDelta, Utc};
use futures::future::{try_join, try_join_all};
use http::Method;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use keyplane_crds::{ApiKey, SshKey};
use keyplane_tests::http_api::HttpApi;
use keyplane_tests::keyplane_process::Keyplane;
use keyplane_tests::plaintext_registry;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt as _};

use super::callers::{Caller, Credentials, callers};
use super::inference_service::InferenceService;
use super::operations::{Ids, public_key};
use crate::replicas::{BEHIND_PROXY, replica};

/// The namespace of the ServiceAccounts that stand in for people.
const PEOPLE: &str = "default";
/// How long an expiring key lives: long enough to become Ready and be seen to work.
const LIFE: TimeDelta = TimeDelta::seconds(30);
/// How many denied uses lock a key, at this replica.
const DENIALS: usize = 20;
/// Where the keys with a list may be used: from documentation addresses (RFC 5737).
const LIST: &str = "  allowedCidrs: [203.0.113.0/24]\n";

/// Where the matrix is played.
pub(super) struct Stage {
    pub(super) own: Tenant,
    pub(super) other: Tenant,
    pub(super) public: HttpApi,
    pub(super) internal: HttpApi,
    pub(super) callers: Vec<Caller>,
    /// What stands in the account and is never asked for with success.
    pub(super) ids: Ids,
    /// The same of the other account.
    pub(super) their_ids: Ids,
    /// All keys' ids.
    pub(super) own_keys: Vec<String>,
    pub(super) their_keys: Vec<String>,
    pub(super) inference: InferenceService,
    _replica: Keyplane,
}

impl Stage {
    pub(super) async fn set(name: &str) -> Result<Self> {
        let shared = shared_keyplane().await?;
        let account = |name: String| async move {
            let tenant = Tenant::create(shared.cluster, &shared.keyplane, &name).await?;
            // As many as the matrix makes.
            let limits = r#"{"spec":{"limits":{"activeApiKeys":500,"sshKeys":500,"namespaces":100}}}"#;
            tenant.kubectl.run(["patch", "account", &tenant.account, "--type=merge", "-p", limits]).await?;
            tenant.namespace("web").await?;
            anyhow::Ok(tenant)
        };
        let (own, other) = try_join(account(name.to_owned()), account(format!("{name}-else"))).await?;
        let inference = InferenceService::start().await?;
        let mut arguments = vec!["--lock-after-denials", "20", "--public-url", "https://keyplane.test"];
        arguments.extend(["--inference-upstream", &inference.url]);
        arguments.extend(BEHIND_PROXY);
        let replica = replica(name, &arguments).await?;
        let public = HttpApi::at(&replica.url(), Some(replica.ca_file()))?;
        let internal = HttpApi::at(&replica.internal_url(), None)?;
        let (ids, their_ids) = try_join(victims(&own), victims(&other)).await?;
        let mut has = people(&own, &other).await?;
        keys(&own, &other, &public, &mut has).await?;
        has.account.clone_from(&own.account);
        let (own_keys, their_keys) = try_join(ids_of_keys(&own), ids_of_keys(&other)).await?;
        let callers = callers(&has);
        Ok(Self {
            own,
            other,
            public,
            internal,
            callers,
            ids,
            their_ids,
            own_keys,
            their_keys,
            inference,
            _replica: replica,
        })
    }
}

/// A key, a namespace and an SSH key that nobody uses.
async fn victims(tenant: &Tenant) -> Result<Ids> {
    tenant.key("victim", &["--kubernetes-namespace", "web"]).await?;
    tenant.register_ssh_key("victim", &public_key()).await?;
    tenant.wait_ready("sshkey/victim").await?;
    let ssh_keys: Api<SshKey> = Api::namespaced(tenant.client(), &tenant.account);
    Ok(Ids {
        key: tenant.stored_key("victim").await?.uid().context("a UID")?,
        namespace: tenant.namespace_id("web").await?,
        ssh_key: ssh_keys.get("victim").await?.uid().context("a UID")?,
        new: "intruder".to_owned(),
    })
}

async fn ids_of_keys(tenant: &Tenant) -> Result<Vec<String>> {
    let keys: Api<ApiKey> = Api::namespaced(tenant.client(), &tenant.account);
    Ok(keys.list(&ListParams::default()).await?.items.iter().filter_map(ApiKey::uid).collect())
}

async fn people(own: &Tenant, other: &Tenant) -> Result<Credentials> {
    let owner = own.owner_token().await?;
    let person = format!("{}-person", own.account);
    let elsewhere = TokenRequestSpec {
        audiences: Some(vec!["https://another.example".to_owned()]),
        ..TokenRequestSpec::default()
    };
    Ok(Credentials {
        owner,
        viewer: own.viewer_token().await?,
        stranger: other.owner_token().await?,
        administrator: administrator(own).await?,
        ended: ended(own, &person).await?,
        elsewhere: token(own, &person, elsewhere).await?,
        ..Credentials::default()
    })
}

/// A token of a ServiceAccount that stands in for a person.
pub(super) async fn token(own: &Tenant, person: &str, spec: TokenRequestSpec) -> Result<String> {
    let people: Api<ServiceAccount> = Api::namespaced(own.client(), PEOPLE);
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let answer = people.create_token_request(person, &PostParams::default(), &request).await?;
    let token = answer.status.and_then(|status| status.token).context("a token")?;
    plaintext_registry::token(&token)?;
    Ok(token)
}

/// Somebody new, who has no rights yet.
pub(super) async fn person(own: &Tenant, name: &str) -> Result<String> {
    let people: Api<ServiceAccount> = Api::namespaced(own.client(), PEOPLE);
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let account = ServiceAccount { metadata, ..ServiceAccount::default() };
    people.create(&PostParams::default(), &account).await?;
    token(own, name, TokenRequestSpec::default()).await
}

async fn administrator(own: &Tenant) -> Result<String> {
    let name = format!("{}-administrator", own.account);
    let token = person(own, &name).await?;
    let account = format!("--serviceaccount={PEOPLE}:{name}");
    let binding = ["create", "clusterrolebinding", &name, "--clusterrole=cluster-admin", &account];
    own.kubectl.run(binding).await?;
    Ok(token)
}

/// A token whose end has come: it is bound to a Secret that is gone. One that merely expires lives ten minutes at least.
async fn ended(own: &Tenant, person: &str) -> Result<String> {
    let name = format!("{}-bound", own.account);
    let secrets: Api<Secret> = Api::namespaced(own.client(), PEOPLE);
    let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
    let secret = secrets.create(&PostParams::default(), &Secret { metadata, ..Secret::default() }).await?;
    let bound = BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Secret".to_owned()),
        name: Some(name.clone()),
        uid: secret.uid(),
    };
    let spec = TokenRequestSpec { bound_object_ref: Some(bound), ..TokenRequestSpec::default() };
    let ended = token(own, person, spec).await?;
    secrets.delete(&name, &DeleteParams::default()).await?;
    Ok(ended)
}

/// Every key, in the state that it is to be in.
async fn keys(own: &Tenant, other: &Tenant, public: &HttpApi, has: &mut Credentials) -> Result<()> {
    let soon = (Utc::now() + LIFE).to_rfc3339_opts(SecondsFormat::Secs, true);
    let rows: [(&str, &[&str], &str); 13] = [
        ("all", &["--scope", "all"], ""),
        ("inference", &["--scope", "inference"], ""),
        ("ssh-keys", &["--scope", "ssh-keys"], ""),
        ("exec", &["--kubernetes-namespace", "web"], ""),
        ("expired", &["--scope", "all", "--expires-at", &soon], ""),
        ("revoked", &["--scope", "all"], ""),
        ("deleted", &["--scope", "all"], ""),
        ("rotated", &["--scope", "all"], ""),
        ("locked", &["--scope", "all"], LIST),
        ("listed-1", &["--scope", "all"], LIST),
        ("listed-2", &["--scope", "all"], LIST),
        ("not-ready", &["--kubernetes-namespace", "nowhere"], ""),
        ("unknown", &["--scope", "all"], ""),
    ];
    let generated =
        try_join_all(rows.iter().map(|(name, arguments, _)| own.generate(name, arguments))).await?;
    let mut manifests = Vec::new();
    let mut plain = Vec::new();
    for ((name, _, list), (key, manifest)) in rows.iter().zip(generated) {
        plain.push(key.plaintext()?);
        if *name != "unknown" {
            manifests.push(manifest.replacen("spec:\n", &format!("spec:\n{list}"), 1));
        }
    }
    own.kubectl.apply(&manifests.join("\n---\n")).await?;
    let plain: [String; 13] = plain.try_into().ok().context("thirteen keys")?;
    let [
        all,
        inference,
        ssh_keys,
        exec,
        expired,
        revoked,
        deleted,
        rotated,
        locked,
        one,
        two,
        not_ready,
        unknown,
    ] = plain;

    // All are live first: a key that never was proves nothing.
    for key in [&expired, &all, &inference, &ssh_keys, &exec, &revoked, &deleted, &rotated] {
        until_verified(public, key, &[], 200).await?;
    }
    for key in [&locked, &one, &two] {
        until_verified(public, key, &[("x-forwarded-for", "203.0.113.7")], 200).await?;
    }
    let of_another = other.key("all", &["--scope", "all"]).await?.plaintext()?;
    until_verified(public, &of_another, &[], 200).await?;
    own.key_with_reason("not-ready", "NamespaceNotOwned").await?;
    until_verified(public, &not_ready, &[], 403).await?;

    own.patch_key("revoked", r#"{"revoked":true}"#).await?;
    let home = format!("--namespace={}", own.account);
    own.kubectl.run(["delete", "apikey", "deleted", &home, "--wait=false"]).await?;
    let (_, manifest) = own.generate("rotated-in", &["--scope", "all"]).await?;
    let digest =
        manifest.lines().find_map(|line| line.trim().strip_prefix("digest: ")).context("a digest")?;
    let digest = digest.trim_matches('"');
    own.patch_key("rotated", &format!(r#"{{"digest":"{digest}"}}"#)).await?;
    for _ in 0..DENIALS {
        let answer = public.send(Method::GET, "/v1/verify", &[("x-api-key", &locked)], b"").await?;
        ensure!(answer.status == 403, "{answer:?}");
    }
    for key in [&revoked, &deleted, &rotated, &expired] {
        until_verified(public, key, &[], 401).await?;
    }
    until_verified(public, &locked, &[("x-forwarded-for", "203.0.113.7")], 403).await?;
    for (name, reason) in [("revoked", "Revoked"), ("expired", "Expired"), ("locked", "Locked")] {
        own.key_with_reason(name, reason).await?;
    }
    own.wait_ready("apikey/rotated").await?;

    let swapped =
        public.send(Method::POST, "/v1/kubernetes/exec-credential", &[("x-api-key", &all)], b"").await?;
    has.keys_token = swapped.at("/status/token").with_context(|| format!("a token: {}", swapped.status))?;
    plaintext_registry::token(&has.keys_token)?;
    (has.all, has.inference, has.ssh_keys, has.kubernetes_exec) = (all, inference, ssh_keys, exec);
    (has.expired, has.revoked, has.deleted, has.rotated_out) = (expired, revoked, deleted, rotated);
    (has.locked, has.not_ready, has.listed) = (locked, not_ready, [one, two]);
    (has.unknown, has.of_another) = (unknown, of_another);
    Ok(())
}

/// Waits until the replica says this of a key.
async fn until_verified(api: &HttpApi, key: &str, headers: &[(&str, &str)], status: u16) -> Result<()> {
    let headers: Vec<(&str, &str)> = headers.iter().copied().chain([("x-api-key", key)]).collect();
    until(&format!("the replica to answer {status}"), PATIENCE, || async {
        let answer = api.send(Method::GET, "/v1/verify", &headers, b"").await?;
        Ok(if answer.status == status { Seen::Done(()) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await
}
