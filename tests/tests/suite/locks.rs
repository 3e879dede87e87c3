//! Uses from addresses outside a key's list lock it, and everything tells of it.

mod lifting;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{TimeDelta, Utc};
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::RoleBinding;
use keyplane_core::key_format::{KeyType, PlaintextKey};
use keyplane_crds::{ApiKey, ApiKeyState, SecurityEvent};
use keyplane_tests::exchange::{Answer, post};
use keyplane_tests::keyplane_process::Keyplane;
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
    ensure!(told.iter().any(|event| is_lock(&event)), "no line of the lock");
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
        let lock = told.iter().any(|note| note.contains(": locked at ") && note.contains("spec.unlockedAt"));
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
                let length = chunk.len();
                chunk.copy_from_slice(source.get(..length).unwrap_or_default());
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
