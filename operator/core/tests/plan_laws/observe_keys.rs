//! What the rules about keys and limits ask of the rest of the cluster, as `operator/src/index/api_key_view.rs` gathers
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use keyplane_core::account::Holdings;
use keyplane_core::api_key::{
    Claim, KeyRecord, Known, ObservedApiKey, RecipientKey, Standing, shard_name, standing,
};
use keyplane_core::limits::{ranks, ssh_key_limit};
use keyplane_core::ownership::{is_made_for, kubernetes_name};
use keyplane_core::seniority::Seniority;
use keyplane_core::ssh_key::{SshKeyFacts, Verdict, verdicts};
use keyplane_crds::{ApiKey, Namespace};

use crate::model::Cluster;
use crate::observe::{account_of, children_of, facts_of, home_of, owned_namespaces, rivals};
use crate::resource::Place;

pub fn uid_of(key: &ApiKey) -> &str {
    key.metadata.uid.as_deref().unwrap_or_default()
}

/// The record on a key's ServiceAccount.
pub fn record_of(cluster: &Cluster, key: &ApiKey) -> Option<KeyRecord> {
    cluster.identity(uid_of(key)).and_then(|identity| KeyRecord::of(identity.metadata()))
}

fn claim_of(cluster: &Cluster, key: &ApiKey, digest: &str) -> Claim {
    Claim {
        since: record_of(cluster, key).and_then(|record| record.holds_since(digest)),
        seniority: Seniority::of(&key.metadata),
    }
}

/// Every key that declares a digest or has it on record.
pub fn keys_naming<'a>(cluster: &'a Cluster, digest: &str) -> impl Iterator<Item = &'a ApiKey> {
    cluster.api_keys.values().filter(move |key| {
        key.spec.digest.as_deref() == Some(digest)
            || record_of(cluster, key).is_some_and(|record| record.digests().contains(&digest))
    })
}

/// What the exchange knows of those keys.
pub fn candidates(cluster: &Cluster, digest: &str) -> Vec<Known> {
    keys_naming(cluster, digest)
        .map(|key| Known { key: Arc::new(key.clone()), record: record_of(cluster, key) })
        .collect()
}

fn rivals_of(cluster: &Cluster, key: &ApiKey, digest: &str) -> Vec<Claim> {
    keys_naming(cluster, digest)
        .filter(|other| other.metadata.uid != key.metadata.uid)
        .map(|other| claim_of(cluster, other, digest))
        .collect()
}

/// Whether a key takes up room.
fn contends(cluster: &Cluster, key: &ApiKey, now: DateTime<Utc>) -> bool {
    if standing(key, now) != Standing::Live {
        return false;
    }
    let Some(digest) = key.spec.digest.as_deref() else { return true };
    let own = claim_of(cluster, key, digest);
    !cluster.tombstones.contains(digest) && !rivals_of(cluster, key, digest).iter().any(|rival| *rival < own)
}

fn rank_of(cluster: &Cluster, key: &ApiKey, now: DateTime<Utc>) -> u32 {
    let is_neighbour = |other: &&ApiKey| other.metadata.namespace == key.metadata.namespace;
    let contenders = cluster.api_keys.values().filter(is_neighbour).filter(|key| contends(cluster, key, now));
    let ranks = ranks(contenders.map(|key| Seniority::of(&key.metadata)));
    ranks.get(uid_of(key)).copied().unwrap_or_default()
}

fn recipient_of(cluster: &Cluster, key: &ApiKey) -> RecipientKey {
    let sealed_to = key.spec.delivery.as_ref().and_then(|delivery| delivery.sealed_to.as_ref());
    let home = home_of(&key.metadata);
    let found = sealed_to.and_then(|to| cluster.ssh_keys.get(&Place::within(home, &to.ssh_key)));
    let (Some(ssh_key), Some(account)) = (found, account_of(cluster, home)) else {
        return RecipientKey::Absent;
    };
    let all: Vec<SshKeyFacts> = cluster.ssh_keys.values().map(facts_of).collect();
    let verdicts = verdicts(home, &rivals(&all, home), ssh_key_limit(&account));
    match verdicts.get(ssh_key.metadata.uid.as_deref().unwrap_or_default()) {
        Some(Verdict::Registered { .. }) => RecipientKey::Registered(ssh_key.spec.public_key.clone()),
        _ => RecipientKey::Absent,
    }
}

pub fn observed_api_key(cluster: &Cluster, key: &Arc<ApiKey>, now: DateTime<Utc>) -> ObservedApiKey {
    let home = home_of(&key.metadata);
    let children = children_of(cluster, uid_of(key), home);
    let record = KeyRecord::among(&children);
    let recorded = record.as_ref().map(KeyRecord::digests).unwrap_or_default();
    let digests: BTreeSet<String> =
        key.spec.digest.as_deref().into_iter().chain(recorded).map(ToOwned::to_owned).collect();
    let claims: BTreeMap<String, Vec<Claim>> =
        digests.iter().map(|digest| (digest.clone(), rivals_of(cluster, key, digest))).collect();
    ObservedApiKey {
        key: key.clone(),
        account: account_of(cluster, home),
        namespaces: owned_namespaces(cluster, home),
        claims,
        remembered: digests.intersection(&cluster.tombstones).cloned().collect(),
        rank: rank_of(cluster, key, now),
        tombstone_shard: shard_name(home, 0),
        recipient: recipient_of(cluster, key),
        children,
    }
}

pub fn holdings_of(cluster: &Cluster, home: &str, now: DateTime<Utc>) -> Holdings {
    let count = |n: usize| u32::try_from(n).unwrap();
    let is_admitted =
        |key: &&ApiKey| standing(key, now) == Standing::Live && record_of(cluster, key).is_some();
    let keys = cluster.api_keys.values().filter(|key| home_of(&key.metadata) == home).filter(is_admitted);
    let is_counted = |metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        home_of(metadata) == home && metadata.deletion_timestamp.is_none()
    };
    let ssh_keys = cluster.ssh_keys.values().filter(|key| is_counted(&key.metadata));
    let namespaces = cluster
        .namespaces
        .values()
        .filter(|namespace| home_of(&namespace.metadata) == home && stands(cluster, namespace));
    Holdings {
        active_api_keys: count(keys.count()),
        ssh_keys: count(ssh_keys.count()),
        namespaces: count(namespaces.count()),
    }
}

/// Whether a Namespace's core Namespace exists.
pub fn stands(cluster: &Cluster, namespace: &Namespace) -> bool {
    let core = cluster.core(&kubernetes_name(namespace));
    core.is_some_and(|core| is_made_for(core, namespace.metadata.uid.as_deref()))
}

pub fn namespaces_ahead(cluster: &Cluster, namespace: &Namespace) -> u32 {
    let own = Seniority::of(&namespace.metadata);
    let is_ahead = |other: &&Namespace| {
        let place = Seniority::of(&other.metadata);
        let is_coming = other.metadata.deletion_timestamp.is_none() && place < own;
        place != own && (stands(cluster, other) || is_coming)
    };
    let home = home_of(&namespace.metadata);
    let others = cluster.namespaces.values().filter(|other| home_of(&other.metadata) == home);
    u32::try_from(others.filter(is_ahead).count()).unwrap()
}
