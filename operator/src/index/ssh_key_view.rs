//! SshKeys as the rules see them. An account's many keys cost the others nothing: each text is read once, each
//! account is decided once for each change of what its verdicts rest on.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyplane_core::limits::ssh_key_limit;
use keyplane_core::ssh_key::{KeySummary, SshKeyFacts, verdicts};
use keyplane_crds::{Account, SshKey};
use kube::ResourceExt;

use super::cluster_view::{
    ClusterView, fingerprint_key, home_key, home_of_key, is_fingerprint_key, own_keys, uid_of_key,
};
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
        self.ssh_key_book
            .verdicts
            .of(&home, limit, uid, || verdicts(&home, &self.ssh_key_rivals(&home), limit))
    }

    /// The account's keys, and every key that shares a fingerprint with one of them.
    fn ssh_key_rivals(&self, home: &str) -> Vec<SshKeyFacts> {
        let facts = |key: &Arc<SshKey>| SshKeyFacts::of(key, self.public_key_of(key));
        let mut rivals: Vec<SshKeyFacts> = self.ssh_keys.find(&home_key(home)).iter().map(facts).collect();
        // Each fingerprint once: many copies of one key would else be gathered once for each of them.
        let read = rivals.iter().filter_map(|facts| facts.key.as_ref().ok());
        let fingerprints: BTreeSet<String> = read.map(KeySummary::fingerprint).map(fingerprint_key).collect();
        for fingerprint in &fingerprints {
            let sharing = self.ssh_keys.find(fingerprint);
            rivals.extend(
                sharing.iter().filter(|key| key.metadata.namespace.as_deref() != Some(home)).map(facts),
            );
        }
        rivals
    }

    /// Takes in that SshKeys came, went or say something else. Returns the homes of all keys that it concerns: those
    /// of the same accounts, and those of the accounts that have one of the same public keys.
    pub(crate) fn ssh_keys_changed(&self, change: &Change<SshKey>) -> BTreeSet<String> {
        let mut homes: BTreeSet<String> =
            change.keys.iter().filter_map(|key| home_of_key(key)).map(ToOwned::to_owned).collect();
        for fingerprint in change.keys.iter().filter(|key| is_fingerprint_key(key)) {
            homes.extend(self.ssh_keys.find(fingerprint).iter().filter_map(|key| key.namespace()));
        }
        for (key, uid) in change.keys.iter().filter_map(|key| Some((key, uid_of_key(key)?))) {
            if self.ssh_keys.find(key).is_empty() {
                self.ssh_key_book.reads.forget(uid);
            }
        }
        self.ssh_key_book.verdicts.forget(&homes);
        homes
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;

    const COUNT: usize = 60;

    thread_local! {
        static READS: Cell<usize> = const { Cell::new(0) };
    }

    fn counted(text: &str) -> Reading {
        READS.set(READS.get() + 1);
        KeySummary::read(text)
    }

    /// Different public keys: the points of edwards25519 with the smallest y.
    fn public_keys() -> impl Iterator<Item = String> {
        (2_u64..).filter_map(|y| {
            let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
            blob.extend(y.to_le_bytes());
            blob.resize(blob.len() + 24, 0);
            let base64 = serde_json::to_value(ByteString(blob)).unwrap();
            let line = format!("ssh-ed25519 {}", base64.as_str().unwrap());
            KeySummary::read(&line).is_ok().then_some(line)
        })
    }

    fn ssh_key(number: usize, line: &str) -> SshKey {
        serde_json::from_value(json!({
            "apiVersion": "keyplane.dev/v1alpha1", "kind": "SshKey",
            "metadata": {
                "name": format!("key-{number}"), "namespace": "acme", "uid": format!("uid-{number:05}"), "generation": 1,
            },
            "spec": {"publicKey": line},
        }))
        .unwrap()
    }

    fn account() -> Account {
        serde_json::from_value(json!({
            "apiVersion": "keyplane.dev/v1alpha1", "kind": "Account", "metadata": {"name": "acme"}, "spec": {},
        }))
        .unwrap()
    }

    fn apply(view: &ClusterView, event: &Event<SshKey>) {
        if let Some(change) = view.ssh_keys.apply(event)
            && change.concerns_others
        {
            view.ssh_keys_changed(&change);
        }
    }

    fn decide_about_all(view: &ClusterView, keys: &[SshKey]) -> Vec<Verdicts> {
        keys.iter().map(|key| view.ssh_key_verdicts(key, &account())).collect()
    }

    #[test]
    fn each_public_key_is_read_once_however_often_it_is_seen_and_decided_about() {
        let keys: Vec<SshKey> =
            public_keys().take(COUNT).enumerate().map(|(at, line)| ssh_key(at, &line)).collect();
        let view = ClusterView::reading(counted);
        for key in &keys {
            apply(&view, &Event::Apply(key.clone()));
            decide_about_all(&view, std::slice::from_ref(key));
        }
        for key in &keys {
            apply(
                &view,
                &Event::Apply(SshKey { status: Some(keyplane_crds::SshKeyStatus::default()), ..key.clone() }),
            );
        }
        apply(&view, &Event::Init);
        for key in &keys {
            apply(&view, &Event::InitApply(key.clone()));
        }
        apply(&view, &Event::InitDone);
        decide_about_all(&view, &keys);
        assert_eq!(READS.get(), COUNT);
    }

    #[test]
    fn an_account_is_decided_about_once_for_each_change() {
        let keys: Vec<SshKey> =
            public_keys().take(COUNT).enumerate().map(|(at, line)| ssh_key(at, &line)).collect();
        let view = ClusterView::new();
        for key in &keys {
            apply(&view, &Event::Apply(key.clone()));
        }
        let before = decide_about_all(&view, &keys);
        assert!(
            before.iter().all(|verdicts| Arc::ptr_eq(verdicts, &before[0])),
            "all keys share one decision"
        );
        apply(
            &view,
            &Event::Apply(SshKey { status: Some(keyplane_crds::SshKeyStatus::default()), ..keys[0].clone() }),
        );
        assert!(Arc::ptr_eq(&decide_about_all(&view, &keys)[0], &before[0]), "a status changes no verdict");
        apply(&view, &Event::Delete(keys[0].clone()));
        let after = decide_about_all(&view, &keys[1..]);
        assert!(
            !after[0].contains_key("uid-00000")
                && after.iter().all(|verdicts| Arc::ptr_eq(verdicts, &after[0]))
        );
    }

    #[test]
    fn a_verdict_kept_is_the_verdict_made_anew() {
        let line = public_keys().next().unwrap();
        let view = ClusterView::new();
        let copies: Vec<SshKey> = (0..COUNT).map(|at| ssh_key(at, &line)).collect();
        for (at, key) in copies.iter().enumerate().rev() {
            apply(&view, &Event::Apply(key.clone()));
            let kept = view.ssh_key_verdicts(key, &account());
            let anew: BTreeMap<_, _> =
                verdicts("acme", &view.ssh_key_rivals("acme"), ssh_key_limit(&account()));
            assert_eq!(*kept, anew);
            assert_eq!(view.ssh_key_rivals("acme").len(), COUNT - at, "copies of one key are gathered once");
        }
    }

    #[test]
    fn nothing_is_kept_of_a_key_that_is_gone() {
        let keys: Vec<SshKey> =
            public_keys().take(3).enumerate().map(|(at, line)| ssh_key(at, &line)).collect();
        let view = ClusterView::new();
        for key in &keys {
            apply(&view, &Event::Apply(key.clone()));
        }
        apply(&view, &Event::Delete(keys[0].clone()));
        assert_eq!(view.ssh_key_book.reads.len(), 2);
        apply(&view, &Event::Init);
        apply(&view, &Event::InitApply(keys[2].clone()));
        apply(&view, &Event::InitDone);
        assert_eq!(view.ssh_key_book.reads.len(), 1);
    }
}
