//! Uses from addresses outside a key's list lock it, its owner unlocks it, and everything tells of it.

use std::convert::Infallible;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::RoleBinding;
use keyplane_core::key_format::{KeyType, PlaintextKey};
use keyplane_crds::{ApiKey, ApiKeyState, SecurityEvent};
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::exchange::{Answer, post};
use keyplane_tests::install::install;
use keyplane_tests::keyplane_process::{Keyplane, KeyplaneOptions, Mode};
use keyplane_tests::shared::{SharedKeyplane, shared_keyplane};
use keyplane_tests::tenant::{HeldKey, Tenant};
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::replicas::{BEHIND_PROXY, HOME, replica};

/// What is promised for a token of a key that is taken away.
const FORBIDDEN_WITHIN: Duration = Duration::from_secs(1);

async fn tenant(prefix: &str) -> Result<(&'static SharedKeyplane, Tenant)> {
    let shared = shared_keyplane().await?;
    let tenant = Tenant::create(shared.cluster, &shared.keyplane, prefix).await?;
    tenant.namespace("web").await?;
    Ok((shared, tenant))
}

/// Denied uses, each from this address.
async fn denied(own: &Tenant, replica: &Keyplane, key: &HeldKey, addresses: &[&str]) -> Result<Vec<String>> {
    let mut codes = Vec::new();
    for address in addresses {
        let answer = own.exchange_from(replica, key, address).await?;
        ensure!(answer.status == 403, "{answer:?}");
        codes.push(answer.code().unwrap_or_default());
    }
    Ok(codes)
}

fn events(key: &ApiKey) -> Vec<(&str, &str, u64)> {
    let events = key.status.iter().flat_map(|status| &status.security_events);
    events.map(|event| (event.reason.as_str(), event.address.as_str(), event.count)).collect()
}

/// Sets `spec.unlockedAt`, and says when it is.
async fn unlock(own: &Tenant, name: &str, at: DateTime<Utc>) -> Result<()> {
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    own.patch_key(name, &json!({"unlockedAt": at}).to_string()).await.map(drop)
}

/// The objects of a key that give it access, by kind and name, and whether its identity is there.
async fn access(client: &Client, uid: &str) -> Result<(Vec<String>, bool)> {
    let all = ListParams::default();
    let bindings: Api<RoleBinding> = Api::all(client.clone());
    let anchors: Api<Secret> = Api::namespaced(client.clone(), "keyplane-identities");
    let identities: Api<ServiceAccount> = Api::namespaced(client.clone(), "keyplane-identities");
    let bindings =
        bindings.list(&all).await?.into_iter().map(|found| format!("RoleBinding {}", found.name_any()));
    let anchors = anchors.list(&all).await?.into_iter().map(|found| format!("Secret {}", found.name_any()));
    let found = bindings.chain(anchors).filter(|name| name.contains(uid)).collect();
    Ok((found, identities.get_opt(&format!("key-{uid}")).await?.is_some()))
}

async fn until_access(own: &Tenant, uid: &str, is_there: bool) -> Result<()> {
    until("the key's bindings and anchors", PATIENCE, || async {
        let (found, identity) = access(&own.client(), uid).await?;
        ensure!(identity, "the identity with the key's record is gone");
        // A RoleBinding and an anchor.
        let is_so = found.len() == if is_there { 2 } else { 0 };
        Ok(if is_so { Seen::Done(()) } else { Seen::NotYet(format!("{found:?}")) })
    })
    .await
}

/// How long it takes from `start` until a token is Forbidden.
async fn until_forbidden(token: &Client, namespace: &str, start: Instant) -> Result<Duration> {
    let pods: Api<Pod> = Api::namespaced(token.clone(), namespace);
    loop {
        match pods.list(&ListParams::default().limit(1)).await {
            Err(kube::Error::Api(status)) if status.code == 403 => return Ok(start.elapsed()),
            answer if start.elapsed() > FORBIDDEN_WITHIN => bail!("not Forbidden in time: {answer:?}"),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// The Events about an object, as `reason: note`.
async fn notes(own: &Tenant, uid: &str) -> Result<Vec<String>> {
    let all: Api<Event> = Api::namespaced(own.client(), &own.account);
    let about =
        |event: &Event| event.regarding.as_ref().is_some_and(|object| object.uid.as_deref() == Some(uid));
    let told =
        |event: Event| format!("{}: {}", event.reason.unwrap_or_default(), event.note.unwrap_or_default());
    Ok(all.list(&ListParams::default()).await?.into_iter().filter(about).map(told).collect())
}

#[tokio::test]
async fn three_uses_from_elsewhere_lock_a_key_and_take_everything_away() -> Result<()> {
    let (shared, own) = tenant("locked").await?;
    let replica = replica("locked", &BEHIND_PROXY).await?;
    let key = own.key_from("ci", "web", &HOME).await?;
    let uid = own.stored_key("ci").await?.uid().context("a UID")?;
    let token = own.client_with(&own.until_exchanged(&replica, &key, &[]).await?)?;
    let web = format!("{}-web", own.account);
    let pods: Api<Pod> = Api::namespaced(token.clone(), &web);
    pods.list(&ListParams::default()).await?;

    let two = denied(&own, &replica, &key, &["198.51.100.1", "2001:db8::2"]).await?;
    ensure!(two == ["address_not_allowed"; 2], "{two:?}");
    ensure!(own.exchange_at(&replica, &key, &[]).await?.status == 200, "two do not lock");
    let third = denied(&own, &replica, &key, &["::ffff:198.51.100.3"]).await?;
    let start = Instant::now();
    ensure!(third == ["key_locked"], "{third:?}");
    let forbidden = until_forbidden(&token, &web, start).await?;
    println!("lock: token Forbidden {} ms after the third denial's answer", forbidden.as_millis());
    let home = own.exchange_at(&replica, &key, &[]).await?;
    ensure!(home.status == 403 && home.code().as_deref() == Some("key_locked"), "{home:?}");
    ensure!(home.at("/detail").is_some_and(|text| text.contains("spec.unlockedAt")), "{home:?}");

    let locked = own.key_with_reason("ci", "Locked").await?;
    let denials = [
        ("AddressDenied", "198.51.100.3", 1),
        ("AddressDenied", "2001:db8::2", 1),
        ("AddressDenied", "198.51.100.1", 1),
    ];
    ensure!(events(&locked) == denials, "newest first: {:?}", events(&locked));
    let status = locked.status.context("a status")?;
    ensure!(status.state == Some(ApiKeyState::Locked), "{status:?}");
    ensure!(status.access.is_none() && status.namespaces.is_empty(), "{status:?}");
    let lock = status.lock.context("a lock")?;
    ensure!(lock.locked_at == status.security_events[0].time, "{lock:?}");
    ensure!(lock.address == "198.51.100.3" && lock.reason == "AddressDenied", "{lock:?}");
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").context("Ready")?;
    ensure!(format!("{:?}", ready.status) == "False", "{ready:?}");
    for word in ["198.51.100.3", "spec.unlockedAt", "status.securityEvents"] {
        ensure!(ready.message.contains(word), "{word}: {}", ready.message);
    }
    until_access(&own, &uid, false).await?;

    let audit = replica.audit_events()?;
    let lines: Vec<(&str, &str)> = audit
        .iter()
        .filter(|event| event["data"]["id"] == *uid && event["data"]["code"] == "K1021W")
        .filter_map(|event| {
            Some((event["data"]["address"].as_str()?, event["data"]["addressSource"].as_str()?))
        })
        .collect();
    for address in ["198.51.100.1", "198.51.100.3"] {
        ensure!(lines.contains(&(address, "x-forwarded-for")), "{lines:?}");
    }
    ensure!(lines.len() == 3, "{lines:?}");
    let is_lock =
        |event: &&serde_json::Value| event["data"]["id"] == *uid && event["data"]["code"] == "K1030W";
    let told = shared.keyplane.audit_events()?;
    ensure!(told.iter().filter(is_lock).count() == 1, "{:?}", told.iter().find(is_lock));
    Ok(())
}

#[tokio::test]
async fn kubectl_describe_tells_of_each_denied_address_and_of_the_lock() -> Result<()> {
    let (_, own) = tenant("described").await?;
    let replica = replica("described", &BEHIND_PROXY).await?;
    let key = own.key_from("ci", "web", &HOME).await?;
    let uid = own.stored_key("ci").await?.uid().context("a UID")?;
    own.until_exchanged(&replica, &key, &[]).await?;
    let addresses = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
    denied(&own, &replica, &key, &addresses).await?;
    own.key_with_reason("ci", "Locked").await?;
    until("an Event for each denied address and for the lock", PATIENCE, || async {
        let told = notes(&own, &uid).await?;
        let denials = addresses.iter().all(|address| {
            told.iter().any(|note| {
                note.starts_with("AddressDenied: ") && note.contains(&format!("used from {address},"))
            })
        });
        let lock = told.iter().any(|note| note.starts_with("Locked: ") && note.contains("spec.unlockedAt"));
        Ok(if denials && lock { Seen::Done(()) } else { Seen::NotYet(format!("{told:#?}")) })
    })
    .await?;
    let home = format!("--namespace={}", own.account);
    let story = own.kubectl.run(["describe", "apikey", "ci", &home]).await?;
    for address in addresses {
        ensure!(story.contains(&format!("used from {address}, which is not among")), "{story}");
    }
    Ok(())
}

/// Two keys with the same prefix: bytes of a random source that agree at their beginning.
fn alike() -> Result<[String; 2]> {
    let random = || uuid::Uuid::new_v4().into_bytes();
    let common = random();
    let make = || {
        let fill = |bytes: &mut [u8]| -> Result<(), Infallible> {
            for (number, chunk) in bytes.chunks_mut(common.len()).enumerate() {
                let source = if number == 0 { common } else { random() };
                chunk.copy_from_slice(&source[..chunk.len()]);
            }
            Ok(())
        };
        PlaintextKey::generate(&KeyType::account(), fill)
    };
    Ok([make()?.expose().to_owned(), make()?.expose().to_owned()])
}

#[tokio::test]
async fn who_knows_a_keys_prefix_or_digest_cannot_lock_it() -> Result<()> {
    let (_, own) = tenant("prefix").await?;
    let replica = replica("prefix", &BEHIND_PROXY).await?;
    let [right, wrong] = alike()?;
    ensure!(right != wrong && right[..8] == wrong[..8]);
    let digest = PlaintextKey::parse(&right)?.digest().to_string();
    let spec = json!({
        "digest": digest, "allowedCidrs": HOME, "scope": {"kubernetesExec": {"namespaces": ["web"]}},
    });
    own.declare("ci", &spec).await?;
    own.wait_ready("apikey/ci").await?;
    let ask = async |key: &str, address: &str| -> Result<Answer> {
        let headers = [("x-api-key", key.to_owned()), ("x-forwarded-for", address.to_owned())];
        post(&replica.url(), replica.ca_file(), &headers, b"").await
    };
    until("the replica to know the key", PATIENCE, || async {
        let answer = ask(&right, "127.0.0.1").await?;
        Ok(if answer.status == 200 { Seen::Done(()) } else { Seen::NotYet(answer.text) })
    })
    .await?;
    for _ in 0..5 {
        for text in [wrong.as_str(), &right[..right.len() - 1], &digest, digest.trim_start_matches("sha256:")]
        {
            let answer = ask(text, "198.51.100.1").await?;
            ensure!(answer.status == 401, "{answer:?}");
        }
    }
    // After that many, the first with the right secret is the first that is counted.
    let answer = ask(&right, "198.51.100.2").await?;
    ensure!(answer.code().as_deref() == Some("address_not_allowed"), "{answer:?}");
    ensure!(ask(&right, "127.0.0.1").await?.status == 200);
    let stored = own.stored_key("ci").await?;
    ensure!(events(&stored) == [("AddressDenied", "198.51.100.2", 1)], "{:?}", events(&stored));
    ensure!(stored.status.is_some_and(|status| status.lock.is_none()));
    Ok(())
}

#[tokio::test]
async fn an_unlock_brings_the_same_key_back_and_a_later_lock_stays() -> Result<()> {
    let (_, own) = tenant("unlocked").await?;
    let replica = replica("unlocked", &BEHIND_PROXY).await?;
    let key = own.key_from("ci", "web", &HOME).await?;
    let uid = own.stored_key("ci").await?.uid().context("a UID")?;
    own.until_exchanged(&replica, &key, &[]).await?;
    denied(&own, &replica, &key, &["198.51.100.1"; 3]).await?;
    own.key_with_reason("ci", "Locked").await?;
    until_access(&own, &uid, false).await?;

    // A moment before the lock lifts nothing.
    let lock = own.stored_key("ci").await?.status.and_then(|status| status.lock).context("a lock")?;
    unlock(&own, "ci", lock.locked_at - TimeDelta::milliseconds(1)).await?;
    own.key_with_reason("ci", "Locked").await?;
    ensure!(own.exchange_at(&replica, &key, &[]).await?.code().as_deref() == Some("key_locked"));

    let first = Utc::now();
    unlock(&own, "ci", first).await?;
    let active = own.key_with_reason("ci", "Active").await?;
    let status = active.status.context("a status")?;
    ensure!(status.lock.is_none() && status.state == Some(ApiKeyState::Active), "{status:?}");
    ensure!(status.security_events.len() == 3, "what happened is not forgotten: {status:?}");
    until_access(&own, &uid, true).await?;
    let token = own.client_with(&own.until_exchanged(&replica, &key, &[]).await?)?;
    let pods: Api<Pod> = Api::namespaced(token, &format!("{}-web", own.account));
    pods.list(&ListParams::default()).await?;

    // The three of before are over: it takes three more. That lock is younger than the unlock, and stays.
    let codes = denied(&own, &replica, &key, &["198.51.100.2"; 3]).await?;
    ensure!(codes == ["address_not_allowed", "address_not_allowed", "key_locked"], "{codes:?}");
    own.key_with_reason("ci", "Locked").await?;
    unlock(&own, "ci", first).await?;
    ensure!(own.exchange_at(&replica, &key, &[]).await?.code().as_deref() == Some("key_locked"));

    // A moment to come lifts it then, by itself.
    let then = Utc::now() + TimeDelta::seconds(4);
    unlock(&own, "ci", then).await?;
    own.key_with_reason("ci", "Locked").await?;
    let early = own.exchange_at(&replica, &key, &[]).await?;
    let was_early = Utc::now() < then;
    ensure!(was_early && early.code().as_deref() == Some("key_locked"), "{was_early}: {early:?}");
    own.key_with_reason("ci", "Active").await?;
    let late = Utc::now() - then;
    ensure!(late >= TimeDelta::zero(), "{late} too early");
    println!("unlock: state Active seen {} ms after the moment that was named", late.num_milliseconds());
    own.until_exchanged(&replica, &key, &[]).await?;
    Ok(())
}

#[tokio::test]
async fn two_denials_before_an_unlock_are_not_counted_after_it() -> Result<()> {
    let (_, own) = tenant("two").await?;
    let replica = replica("two", &BEHIND_PROXY).await?;
    let key = own.key_from("ci", "web", &HOME).await?;
    own.until_exchanged(&replica, &key, &[]).await?;
    denied(&own, &replica, &key, &["198.51.100.1"; 2]).await?;
    unlock(&own, "ci", Utc::now()).await?;
    own.key_with_reason("ci", "Active").await?;
    own.until_exchanged(&replica, &key, &[]).await?;
    let codes = denied(&own, &replica, &key, &["198.51.100.2"; 2]).await?;
    ensure!(codes == ["address_not_allowed"; 2], "{codes:?}");
    let stored = own.stored_key("ci").await?;
    ensure!(events(&stored).len() == 4, "{:?}", events(&stored));
    ensure!(stored.status.is_some_and(|status| status.lock.is_none()));
    ensure!(own.exchange_at(&replica, &key, &[]).await?.status == 200);
    let third = denied(&own, &replica, &key, &["198.51.100.3"]).await?;
    ensure!(third == ["key_locked"], "{third:?}");
    Ok(())
}

#[tokio::test]
async fn an_installations_own_numbers_are_obeyed() -> Result<()> {
    let (_, own) = tenant("numbers").await?;
    let numbers = ["--lock-after-denials", "2", "--lock-window-seconds", "5"];
    let replica = replica("numbers", &[&BEHIND_PROXY[..], &numbers].concat()).await?;
    let slow = own.key_from("slow", "web", &HOME).await?;
    let quick = own.key_from("quick", "web", &HOME).await?;
    own.until_exchanged(&replica, &quick, &[]).await?;
    let codes = denied(&own, &replica, &quick, &["198.51.100.1", "198.51.100.2"]).await?;
    ensure!(codes == ["address_not_allowed", "key_locked"], "{codes:?}");

    // Further apart than the window, two are one and one.
    let newest =
        |key: &ApiKey| -> Option<SecurityEvent> { key.status.as_ref()?.security_events.first().cloned() };
    for turn in 0..2 {
        let codes = denied(&own, &replica, &slow, &["198.51.100.1"]).await?;
        ensure!(codes == ["address_not_allowed"], "turn {turn}: {codes:?}");
        let since = newest(&own.stored_key("slow").await?).context("an event")?.time;
        until("the window to be over", PATIENCE, || async {
            let over = Utc::now() - since > TimeDelta::seconds(5);
            Ok(if over { Seen::Done(()) } else { Seen::NotYet("five seconds".into()) })
        })
        .await?;
    }
    let codes = denied(&own, &replica, &slow, &["198.51.100.3", "198.51.100.4"]).await?;
    ensure!(codes == ["address_not_allowed", "key_locked"], "{codes:?}");
    Ok(())
}

/// A Keyplane of one's own on a control plane of one's own, so that both halves can be killed.
struct Halves {
    controller: Keyplane,
    api: Keyplane,
}

impl Halves {
    async fn start(cluster: &ControlPlane) -> Result<Self> {
        let installation = install(cluster.kubectl(), cluster.access(), cluster.dir()).await?;
        let controller =
            KeyplaneOptions::of(Mode::Controller, "controller", &installation).with_lease_seconds(3);
        let mut api = KeyplaneOptions::of(Mode::Api, "api", &installation);
        api.extra = BEHIND_PROXY.map(ToOwned::to_owned).into();
        let dir: &Path = cluster.dir();
        let (controller, api) = tokio::try_join!(
            Keyplane::start(cluster.supervise(), dir, &controller),
            Keyplane::start(cluster.supervise(), dir, &api)
        )?;
        Ok(Self { controller, api })
    }
}

#[tokio::test]
async fn a_lock_survives_that_both_halves_are_killed() -> Result<()> {
    let cluster = ControlPlane::start().await?;
    let halves = Halves::start(&cluster).await?;
    let own = Tenant::create(&cluster, &halves.api, "survives").await?;
    own.namespace("web").await?;
    let key = own.key_from("ci", "web", &HOME).await?;
    let uid = own.stored_key("ci").await?.uid().context("a UID")?;
    own.until_exchanged(&halves.api, &key, &[]).await?;
    let codes = denied(&own, &halves.api, &key, &["198.51.100.1"; 2]).await?;
    ensure!(codes == ["address_not_allowed"; 2], "{codes:?}");

    // What was denied before a restart counts after it; the controller is not there to see the lock.
    halves.controller.kill_9()?;
    halves.api.kill_9()?;
    halves.api.restart().await?;
    ensure!(own.exchange_at(&halves.api, &key, &[]).await?.status == 200, "two do not lock");
    let third = denied(&own, &halves.api, &key, &["198.51.100.2"]).await?;
    ensure!(third == ["key_locked"], "{third:?}");
    halves.api.kill_9()?;
    halves.api.restart().await?;
    for _ in 0..2 {
        let answer = own.exchange_at(&halves.api, &key, &[]).await?;
        ensure!(answer.code().as_deref() == Some("key_locked"), "{answer:?}");
    }
    halves.controller.restart().await?;
    let locked = own.key_with_reason("ci", "Locked").await?;
    let lock = locked.status.and_then(|status| status.lock).context("a lock")?;
    until_access(&own, &uid, false).await?;

    halves.controller.kill_9()?;
    halves.api.kill_9()?;
    tokio::try_join!(halves.controller.restart(), halves.api.restart())?;
    let answer = own.exchange_at(&halves.api, &key, &[]).await?;
    ensure!(answer.code().as_deref() == Some("key_locked"), "{answer:?}");
    let still = own.key_with_reason("ci", "Locked").await?.status.and_then(|status| status.lock);
    ensure!(still.as_ref() == Some(&lock), "{still:?}");
    until_access(&own, &uid, false).await?;

    unlock(&own, "ci", Utc::now()).await?;
    own.key_with_reason("ci", "Active").await?;
    own.until_exchanged(&halves.api, &key, &[]).await?;
    until_access(&own, &uid, true).await
}
