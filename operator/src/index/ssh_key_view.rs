//! SshKeys as the rules see them. An account's many keys cost the others nothing: each text is read once, each
//! account is decided once for each change of what its verdicts rest on.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyplane_core::account::ssh_key_limit;
use keyplane_core::ssh_key::{KeySummary, SshKeyFacts, verdicts};
use keyplane_crds::{Account, SshKey};
use kube::ResourceExt;

use super::cluster_view::{ClusterView, fingerprint_key, home_key, home_of_key, is_fingerprint_key, own_keys, uid_of_key};
use super::indexed::{Change, Indexed};
use super::ssh_key_reads::{Reading, SshKeyReads};
use super::ssh_key_verdicts::{SshKeyVerdicts, Verdicts};

/// What is derived from the SshKeys in memory.
pub(super) struct SshKeyBook {
    reads: Arc<SshKeyReads>,
    verdicts: SshKeyVerdicts,
}

impl SshKeyBook {
    /// An empty book, and the index of the keys that it is about.
    pub(super) fn new(read: fn(&str) -> Reading) -> (Self, Arc<Indexed<SshKey>>) {
        let reads = Arc::new(SshKeyReads::new(read));
        let book = Self { reads: reads.clone(), verdicts: SshKeyVerdicts::default() };
        (book, Arc::new(Indexed::new(move |key| ssh_key_keys(key, &reads))))
    }
}

fn ssh_key_keys(key: &SshKey, reads: &SshKeyReads) -> Vec<String> {
    let mut keys = own_keys(key);
    keys.extend(reads.learn(key).ok().map(|summary| fingerprint_key(summary.fingerprint())));
    keys
}

impl ClusterView {
    /// The public key of an SshKey, or why it is none.
    pub(crate) fn public_key_of(&self, key: &SshKey) -> Reading {
        self.ssh_key_book.reads.of(key)
    }

    /// The verdicts about the keys of this account, this live one of them among them.
    pub(crate) fn ssh_key_verdicts(&self, key: &SshKey, account: &Account) -> Verdicts {
        let home = key.namespace().unwrap_or_default();
        let limit = ssh_key_limit(account);
        let uid = key.metadata.uid.as_deref().unwrap_or_default();
        self.ssh_key_book.verdicts.of(&home, limit, uid, || verdicts(&home, &self.ssh_key_rivals(&home), limit))
    }

    /// The account's keys, and every key that shares a fingerprint with one of them; each at least once.
    fn ssh_key_rivals(&self, home: &str) -> Vec<SshKeyFacts> {
        let facts = |key: &Arc<SshKey>| SshKeyFacts::of(key, self.public_key_of(key));
        let mut rivals: Vec<SshKeyFacts> = self.ssh_keys.find(&home_key(home)).iter().map(facts).collect();
        // Each fingerprint once: many copies of one key would else be gathered once for each of them.
        let read = rivals.iter().filter_map(|facts| facts.key.as_ref().ok());
        let fingerprints: BTreeSet<String> = read.map(KeySummary::fingerprint).map(fingerprint_key).collect();
        for fingerprint in &fingerprints {
            let sharing = self.ssh_keys.find(fingerprint);
            rivals.extend(sharing.iter().filter(|key| key.metadata.namespace.as_deref() != Some(home)).map(facts));
        }
        rivals
    }

    /// Takes in that SshKeys came, went or say something else. Returns the homes of all keys that it concerns: those
    /// of the same accounts, and those of the accounts that have one of the same public keys.
    pub(crate) fn ssh_keys_changed(&self, change: &Change<SshKey>) -> BTreeSet<String> {
        let mut homes: BTreeSet<String> = change.keys.iter().filter_map(|key| home_of_key(key)).map(ToOwned::to_owned).collect();
        for fingerprint in change.keys.iter().filter(|key| is_fingerprint_key(key)) {
            homes.extend(self.ssh_keys.find(fingerprint).iter().filter_map(ResourceExt::namespace));
        }
        for uid in change.keys.iter().filter(|key| self.ssh_keys.find(key).is_empty()).filter_map(|key| uid_of_key(key)) {
            self.ssh_key_book.reads.forget(uid);
        }
        self.ssh_key_book.verdicts.forget(&homes);
        homes
    }
}
