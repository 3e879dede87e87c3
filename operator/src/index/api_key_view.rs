//! What the rules about an ApiKey ask of the rest of the cluster: whose its digests are, which are remembered as
//! revoked, its place in the account, and to whom it is sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use keyplane_core::account::Holdings;
use keyplane_core::api_key::{
    Claim, KeyRecord, Known, RecipientKey, SHARD_LIMIT, Standing, digests_of, holder, is_shard, shard_name,
    standing,
};
use keyplane_core::limits::{active_api_key_limit, has_room, ranks};
use keyplane_core::ownership::{account_label, owner_uid};
use keyplane_core::readiness::Reason;
use keyplane_core::seniority::Seniority;
use keyplane_core::ssh_key::Verdict;
use keyplane_core::ssh_public_key::SshPublicKey;
use keyplane_crds::{ApiKey, Condition, Namespace, READY};
use kube::ResourceExt;

use super::cluster_view::{ClusterView, child_keys, digest_key, home_key, uid_key};
use super::indexed::Indexed;

/// The places of one account's live keys, by UID.
pub(super) type Ranks = Arc<BTreeMap<String, u32>>;

/// The key that holds a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its UID.
    pub(crate) uid: String,
    /// Its claim.
    pub(crate) claim: Claim,
}

/// The keys that may hold a digest: those that have it on record; where none has, the oldest that declares it. However
/// many declare it, it costs its holder nothing.
pub(crate) fn contenders(
    keys: &Indexed<ApiKey>,
    identities: &Indexed<ServiceAccount>,
    digest: &str,
) -> Vec<Arc<ApiKey>> {
    let name = digest_key(digest);
    let identities = identities.find(&name);
    let owners = identities.iter().filter_map(|identity| owner_uid(&identity.metadata));
    let recorded: Vec<_> = owners.flat_map(|uid| keys.find(&uid_key(uid))).collect();
    if recorded.is_empty() {
        return keys
            .find(&name)
            .into_iter()
            .min_by_key(|key| Seniority::of(&key.metadata))
            .into_iter()
            .collect();
    }
    recorded
}

/// The look-up keys of a key's ServiceAccount: its owner, and every digest that its record holds.
pub(crate) fn identity_keys(identity: &ServiceAccount) -> Vec<String> {
    let mut keys = child_keys(identity);
    if let Some(record) = KeyRecord::of(&identity.metadata) {
        keys.extend(record.digests().into_iter().map(digest_key));
    }
    keys
}

/// The look-up keys of a ConfigMap of tombstones: its account, and every digest in it.
pub(super) fn tombstone_keys(shard: &ConfigMap) -> Vec<String> {
    if !is_shard(shard) {
        return Vec::new();
    }
    let account = account_label(&shard.metadata).unwrap_or_default();
    let digests = digests_of(shard).map(|digest| revoked_key(account, &digest));
    std::iter::once(shards_key(account)).chain(digests).collect()
}

fn shards_key(account: &str) -> String {
    format!("shards/{account}")
}

const REVOKED_KEY: &str = "revoked/";

fn revoked_key(account: &str, digest: &str) -> String {
    format!("{REVOKED_KEY}{account}/{digest}")
}

/// The account and the digest in a look-up key of tombstones.
pub(crate) fn revoked_digest_of_key(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix(REVOKED_KEY)?.split_once('/')
}

/// Whether conditions say that a resource waits for room under its account's limit.
pub(crate) fn waits_for_room(conditions: &[Condition]) -> bool {
    conditions
        .iter()
        .any(|condition| condition.type_ == READY && condition.reason == Reason::LimitReached.as_str())
}

/// The digests that a key declares or has on record.
pub(crate) fn digests_of_key(key: &ApiKey, record: Option<&KeyRecord>) -> BTreeSet<String> {
    let recorded = record.map(KeyRecord::digests).unwrap_or_default();
    key.spec.digest.as_deref().into_iter().chain(recorded).map(ToOwned::to_owned).collect()
}

impl ClusterView {
    /// The record of the key with this UID, from whatever carries it.
    fn record_of(&self, uid: &str) -> Option<KeyRecord> {
        KeyRecord::among(&self.identity_of(uid))
    }

    /// Every key that declares a digest or has it on record.
    pub(crate) fn keys_naming(&self, digest: &str) -> Vec<Arc<ApiKey>> {
        let mut keys = self.api_keys.find(&digest_key(digest));
        for identity in self.service_accounts.find(&digest_key(digest)) {
            let Some(uid) = owner_uid(&identity.metadata) else { continue };
            if !keys.iter().any(|key| key.metadata.uid.as_deref() == Some(uid)) {
                keys.extend(self.api_keys.find(&uid_key(uid)));
            }
        }
        keys
    }

    /// The key that holds a digest: of those that have it on record the one that had it first, else the oldest that
    /// declares it.
    pub(crate) fn holder_of(&self, digest: &str) -> Option<Holder> {
        self.holders.of(digest, || {
            let contenders = contenders(&self.api_keys, &self.service_accounts, digest);
            let known = contenders.into_iter().map(|key| {
                let record = self.record_of(key.metadata.uid.as_deref().unwrap_or_default());
                Known { key, record }
            });
            let known: Vec<Known> = known.collect();
            let holder = holder(&known, digest)?;
            Some(Holder { uid: holder.key.uid().unwrap_or_default(), claim: holder.claim_on(digest) })
        })
    }

    /// Who holds a digest is to be decided anew. Returns who held it until now, and who does.
    pub(crate) fn holder_changed(&self, digest: &str) -> [Option<Holder>; 2] {
        [self.holders.forget(digest), self.holder_of(digest)]
    }

    /// Of the others' claims on these digests, those that come before all.
    pub(crate) fn claims(&self, key: &ApiKey, digests: &BTreeSet<String>) -> BTreeMap<String, Vec<Claim>> {
        let holders = digests.iter().filter_map(|digest| Some((digest, self.holder_of(digest)?)));
        let others = holders.filter(|(_, holder)| Some(holder.uid.as_str()) != key.metadata.uid.as_deref());
        others.map(|(digest, holder)| (digest.clone(), vec![holder.claim])).collect()
    }

    /// Whether a digest is remembered as revoked in an account. It binds that account only: else a neighbour could have
    /// a digest of yours remembered while your key is being made anew.
    pub(crate) fn is_remembered(&self, account: &str, digest: &str) -> bool {
        !self.tombstones.find(&revoked_key(account, digest)).is_empty()
    }

    /// The ConfigMap that an account's next tombstone goes to: the first that is not full.
    pub(crate) fn tombstone_shard(&self, account: &str) -> String {
        let full: BTreeSet<String> = self
            .tombstones
            .find(&shards_key(account))
            .iter()
            .filter(|shard| shard.data.as_ref().map_or(0, BTreeMap::len) >= SHARD_LIMIT)
            .map(|shard| shard.name_any())
            .collect();
        (0..=full.len()).map(|n| shard_name(account, n)).find(|name| !full.contains(name)).unwrap_or_default()
    }

    /// A key's place among its account's live keys.
    pub(crate) fn rank_of(&self, key: &ApiKey, now: DateTime<Utc>) -> u32 {
        if !self.contends(key, now) {
            return 0;
        }
        let home = key.namespace().unwrap_or_default();
        let uid = key.metadata.uid.as_deref().unwrap_or_default();
        if let Some(rank) = self.ranks_of(&home, now).get(uid) {
            return *rank;
        }
        // The places were decided before it came. One that has none even now is last: it takes nobody's.
        self.ranks.forget(&home);
        self.ranks_of(&home, now).get(uid).copied().unwrap_or(u32::MAX)
    }

    fn ranks_of(&self, home: &str, now: DateTime<Utc>) -> Ranks {
        let decide = || {
            let keys = self.api_keys.find(&home_key(home));
            ranks(keys.iter().filter(|key| self.contends(key, now)).map(|key| Seniority::of(&key.metadata)))
        };
        self.ranks.of(home, || Some(Arc::new(decide()))).unwrap_or_default()
    }

    /// The keys to which it matters that another one came, went or ended: those that wait and have a place now, and
    /// those that an older one has just pushed out.
    pub(crate) fn keys_about_room(&self, home: &str, now: DateTime<Utc>) -> Vec<Arc<ApiKey>> {
        let limit = self.account_of(home).map(|account| active_api_key_limit(&account)).unwrap_or_default();
        let ranks = self.ranks_of(home, now);
        let mut keys = self.api_keys.find(&home_key(home));
        keys.retain(|key| {
            let rank = ranks.get(key.metadata.uid.as_deref().unwrap_or_default());
            let waits = key.status.as_ref().is_some_and(|status| waits_for_room(&status.conditions));
            rank.is_some_and(|rank| (*rank < limit) == waits)
        });
        keys
    }

    /// Whether a key takes up room: it lives, and its digest is its own.
    fn contends(&self, key: &ApiKey, now: DateTime<Utc>) -> bool {
        if standing(key, now) != Standing::Live {
            return false;
        }
        let Some(digest) = key.spec.digest.as_deref() else { return true };
        let is_own = || self.holder_of(digest).is_some_and(|holder| key.metadata.uid == Some(holder.uid));
        !self.is_remembered(key.metadata.namespace.as_deref().unwrap_or_default(), digest) && is_own()
    }

    /// The places of an account's keys are to be decided anew.
    pub(crate) fn ranks_changed(&self, home: &str) {
        self.ranks.forget(home);
    }

    /// The SSH key that a key is to be sealed to.
    pub(crate) fn recipient_of(&self, key: &ApiKey) -> RecipientKey {
        let sealed_to = key.spec.delivery.as_ref().and_then(|delivery| delivery.sealed_to.as_ref());
        let home = key.namespace().unwrap_or_default();
        let found = sealed_to.and_then(|sealed_to| self.ssh_keys.get(Some(&home), &sealed_to.ssh_key));
        let (Some(ssh_key), Some(account)) = (found, self.account_of(&home)) else {
            return RecipientKey::Absent;
        };
        let verdicts = self.ssh_key_verdicts(&ssh_key, &account);
        let verdict = verdicts.get(ssh_key.metadata.uid.as_deref().unwrap_or_default());
        let (Some(Verdict::Registered { .. }), Ok(summary)) = (verdict, self.public_key_of(&ssh_key)) else {
            return RecipientKey::Absent;
        };
        // In its one form: age would not find an owner's key again under another.
        let Ok(public_key) = SshPublicKey::parse(&ssh_key.spec.public_key) else {
            return RecipientKey::Absent;
        };
        let line = public_key.canonical();
        // age decides: it takes RSA only up to a size.
        match line.parse::<age::ssh::Recipient>() {
            Ok(_) => RecipientKey::Registered(line),
            Err(_) => RecipientKey::Unsupported(summary.key_type().as_str().to_owned()),
        }
    }

    /// How much an account has of what is limited.
    pub(crate) fn holdings_of(&self, home: &str, now: DateTime<Utc>) -> Holdings {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let limit = self.account_of(home).map(|account| active_api_key_limit(&account)).unwrap_or_default();
        let ranks = self.ranks_of(home, now);
        let home = home_key(home);
        let keys = self.api_keys.find(&home);
        let admitted = keys.iter().filter(|key| standing(key, now) == Standing::Live).filter(|key| {
            let uid = key.metadata.uid.as_deref().unwrap_or_default();
            // One that an older key has pushed out keeps its record, and is not live.
            let has_place = |record: KeyRecord| {
                ranks.get(uid).is_some_and(|rank| has_room(*rank, limit, record.admitted_under))
            };
            self.record_of(uid).is_some_and(has_place)
        });
        let ssh_keys = self.ssh_keys.find(&home);
        let ssh_keys = ssh_keys.iter().filter(|key| key.metadata.deletion_timestamp.is_none());
        let namespaces = self.namespaces.find(&home);
        let standing = namespaces.iter().filter(|namespace| self.stands(namespace));
        Holdings {
            active_api_keys: count(admitted.count()),
            ssh_keys: count(ssh_keys.count()),
            namespaces: count(standing.count()),
        }
    }

    /// Whether a Namespace's core Namespace exists.
    pub(super) fn stands(&self, namespace: &Namespace) -> bool {
        let core = self.core_namespaces.get(None, &keyplane_core::ownership::kubernetes_name(namespace));
        core.is_some_and(|core| {
            keyplane_core::ownership::is_made_for(&core, namespace.metadata.uid.as_deref())
        })
    }
}
