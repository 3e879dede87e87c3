//! What accounts, administrators and attackers do to a cluster, one step each.

use keyplane_crds::{
    Account, AccountSpec, ApiKey, ApiKeySpec, Namespace, NamespaceSpec, Rotation, SshKey, SshKeySpec,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::edits::{edit, edit_key, forge_ready, half_hours_from, lock, made_by, with_one};
use crate::model::{Cluster, core_namespace};
use crate::resource::Place;
use crate::specs::{self, Maker, ScopeChoice};
use crate::tampering::{self, Tampering};

/// Names that collide: `a-b` is an account and what account `a` would call its namespace `b`; both `a` and `a-b` can
/// come to `a-b-c`.
pub const COLLIDING: Names = Names { accounts: &["a", "a-b", "b"], namespaces: &["b", "c", "b-c"] };
/// Names that do not, so that the end does not depend on who came first.
pub const DISTINCT: Names = Names { accounts: &["a", "b", "d"], namespaces: &["c", "e", "f"] };

/// The names that are in play.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    accounts: &'static [&'static str],
    namespaces: &'static [&'static str],
}

/// One step.
#[derive(Clone, Debug)]
pub enum Operation {
    CreateAccount(usize, AccountSpec),
    EditAccount(usize, AccountSpec),
    DeleteAccount(usize),
    CreateNamespace(usize, usize),
    DeleteNamespace(usize, usize),
    CreateKey {
        home: usize,
        name: usize,
        scope: ScopeChoice,
        maker: Maker,
        lasts_half_hours: Option<i64>,
    },
    EditScope(Index, ScopeChoice),
    EditExpiry(Index, Option<i64>),
    /// The holder made another key.
    EditDigest(Index, usize),
    EditGrace(Index, Option<u32>),
    /// Another key is asked for, so many half hours from now; or nothing is asked for any more.
    AskForRotation(Index, Option<i64>),
    /// Unlocked so many half hours from now.
    Unlock(Index, i64),
    Revoke(Index),
    DeleteKey(Index),
    /// A manifest is applied again, as it was at first.
    ApplyAgain(Index),
    SetLimits {
        account: usize,
        api_keys: Option<u32>,
        namespaces: Option<u32>,
    },
    CreateSshKey {
        home: usize,
        name: usize,
        key: usize,
        default: bool,
    },
    EditSshDefault(Index, bool),
    DeleteSshKey(Index),
    /// The owner takes Keyplane's finalizer off.
    StripFinalizer(Index),
    /// A key goes without having been cleaned up after: its finalizer was taken off before.
    Vanish(Index),
    /// Somebody makes a core Namespace where an account or a namespace would have one.
    SquatNamespace(usize, Option<usize>),
    /// An administrator deletes a core Namespace.
    DeleteCore(Index),
    /// Somebody deletes an object that Keyplane made.
    DeleteChild(Index),
    /// Somebody changes an object that Keyplane made.
    Tamper(Index, Tampering),
    /// A key of role admin makes a `RoleBinding` that has the name of one of Keyplane's.
    ForgeBinding {
        key: Index,
        within: Index,
    },
    /// Somebody writes a status that says Ready.
    ForgeReady(Index),
    /// An API replica locks a key.
    Lock(Index),
    /// The namespace controller comes by.
    CollectNamespaces,
    PassHours(i64),
    /// The controller looks at everything and is killed after so many writes.
    Reconcile {
        seed: u64,
        writes: usize,
    },
}

/// Any step of those who only use Keyplane.
pub fn benign() -> impl Strategy<Value = Operation> {
    use Operation as O;
    prop_oneof![
        4 => (0..3_usize, specs::accounts()).prop_map(|(name, spec)| O::CreateAccount(name, spec)),
        1 => (0..3_usize, specs::accounts()).prop_map(|(name, spec)| O::EditAccount(name, spec)),
        1 => (0..3_usize).prop_map(O::DeleteAccount),
        4 => (0..3_usize, 0..3_usize).prop_map(|(home, name)| O::CreateNamespace(home, name)),
        1 => (0..3_usize, 0..3_usize).prop_map(|(home, name)| O::DeleteNamespace(home, name)),
        6 => (0..3_usize, 0..4_usize, specs::scopes(), specs::makers(), specs::lifetimes()).prop_map(
            |(home, name, scope, maker, lasts_half_hours)| O::CreateKey { home, name, scope, maker, lasts_half_hours }
        ),
        2 => (any::<Index>(), 0..6_usize).prop_map(|(key, digest)| O::EditDigest(key, digest)),
        1 => (any::<Index>(), specs::graces()).prop_map(|(key, grace)| O::EditGrace(key, grace)),
        2 => (any::<Index>(), prop::option::weighted(0.8, -2..4_i64)).prop_map(|(key, at)| O::AskForRotation(key, at)),
        1 => any::<Index>().prop_map(O::Lock),
        1 => (any::<Index>(), -1..4_i64).prop_map(|(key, at)| O::Unlock(key, at)),
        1 => any::<Index>().prop_map(O::ApplyAgain),
        2 => (any::<Index>(), specs::scopes()).prop_map(|(key, scope)| O::EditScope(key, scope)),
        1 => (any::<Index>(), specs::lifetimes()).prop_map(|(key, lasts)| O::EditExpiry(key, lasts)),
        1 => any::<Index>().prop_map(O::Revoke),
        1 => any::<Index>().prop_map(O::DeleteKey),
        3 => (0..3_usize, 0..4_usize, 0..specs::PUBLIC_KEYS, any::<bool>())
            .prop_map(|(home, name, key, default)| O::CreateSshKey { home, name, key, default }),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(key, default)| O::EditSshDefault(key, default)),
        1 => any::<Index>().prop_map(O::DeleteSshKey),
        1 => Just(O::CollectNamespaces),
        1 => (1..3_i64).prop_map(O::PassHours),
        4 => (any::<u64>(), 0..40_usize).prop_map(|(seed, writes)| O::Reconcile { seed, writes }),
    ]
}

/// Any step at all.
pub fn any_operation() -> impl Strategy<Value = Operation> {
    use Operation as O;
    prop_oneof![
        3 => benign(),
        1 => prop_oneof![
            (0..3_usize, prop::option::of(0..4_u32), prop::option::of(0..3_u32))
                .prop_map(|(account, api_keys, namespaces)| O::SetLimits { account, api_keys, namespaces }),
            any::<Index>().prop_map(O::StripFinalizer),
            any::<Index>().prop_map(O::Vanish),
            (0..3_usize, prop::option::of(0..3_usize)).prop_map(|(home, name)| O::SquatNamespace(home, name)),
            any::<Index>().prop_map(O::DeleteCore),
            any::<Index>().prop_map(O::DeleteChild),
            (any::<Index>(), tampering()).prop_map(|(at, how)| O::Tamper(at, how)),
            (any::<Index>(), any::<Index>()).prop_map(|(key, within)| O::ForgeBinding { key, within }),
            any::<Index>().prop_map(O::ForgeReady),
        ],
    ]
}

fn tampering() -> impl Strategy<Value = Tampering> {
    prop_oneof![3 => tampering::undone_tampering(), 1 => Just(Tampering::Hold)]
}

/// A history: an account with two namespaces, which most of what follows needs, and then anything.
pub fn history<S: Strategy<Value = Operation>>(steps: S) -> impl Strategy<Value = Vec<Operation>> {
    use Operation as O;
    (specs::accounts(), specs::accounts(), prop::collection::vec(steps, 1..28)).prop_map(
        |(first, second, steps)| {
            let reconcile = || O::Reconcile { seed: 1, writes: usize::MAX };
            let start = [O::CreateAccount(0, first), O::CreateAccount(1, second), reconcile()];
            let namespaces = [O::CreateNamespace(0, 1), O::CreateNamespace(1, 1), reconcile()];
            start.into_iter().chain(namespaces).chain(steps).collect()
        },
    )
}

impl Operation {
    /// Does it. What the API server refuses has no effect.
    pub fn apply(&self, cluster: &mut Cluster, names: Names) {
        let account = |at: &usize| Place::cluster(names.accounts[*at]);
        let within =
            |home: &usize, name: &usize| Place::within(names.accounts[*home], names.namespaces[*name]);
        match self {
            Self::CreateAccount(at, spec) => {
                let metadata = account(at).metadata();
                let _ = cluster.create(Account { metadata, spec: spec.clone(), status: None });
            }
            Self::EditAccount(at, spec) => {
                edit::<Account>(cluster, &account(at), |found| found.spec = spec.clone());
            }
            Self::DeleteAccount(at) => cluster.delete::<Account>(&account(at)),
            Self::CreateNamespace(home, name) => {
                let metadata = within(home, name).metadata();
                let _ = cluster.create(Namespace { metadata, spec: NamespaceSpec {}, status: None });
            }
            Self::DeleteNamespace(home, name) => cluster.delete::<Namespace>(&within(home, name)),
            Self::CreateKey { home, name, scope, maker, lasts_half_hours } => {
                let metadata = Place::within(names.accounts[*home], &format!("key-{name}")).metadata();
                let (digest, delivery) = made_by(*maker, &format!("key-{name}"));
                let spec = ApiKeySpec {
                    scope: scope.resolve(cluster, names.namespaces),
                    expires_at: lasts_half_hours.map(|halves| half_hours_from(cluster.now, halves)),
                    digest,
                    delivery,
                    ..ApiKeySpec::default()
                };
                let key = ApiKey { metadata, spec, status: None };
                if cluster.create(key.clone()).is_ok() {
                    cluster.manifests.push(key);
                }
            }
            Self::ApplyAgain(at) if !cluster.manifests.is_empty() => {
                let manifest = at.get(&cluster.manifests).clone();
                let _ = cluster.create(manifest);
            }
            Self::ApplyAgain(_) => {}
            Self::SetLimits { account: at, api_keys, namespaces } => {
                edit::<Account>(cluster, &account(at), |found| {
                    let limits = found.spec.limits.get_or_insert_default();
                    limits.active_api_keys = *api_keys;
                    limits.namespaces = *namespaces;
                });
            }
            Self::EditDigest(at, digest) => edit_key(cluster, *at, |key| {
                if key.spec.digest.is_some() {
                    key.spec.digest = Some(specs::digest(*digest));
                }
            }),
            Self::EditGrace(at, seconds) => edit_key(cluster, *at, |key| {
                key.spec.rotation.get_or_insert_default().grace_period_seconds = *seconds;
            }),
            Self::AskForRotation(at, halves) => {
                let now = cluster.now;
                edit_key(cluster, *at, |key| {
                    if key.spec.delivery.is_some() {
                        let rotation: &mut Rotation = key.spec.rotation.get_or_insert_default();
                        rotation.requested_at = halves.map(|halves| half_hours_from(now, halves));
                    }
                });
            }
            Self::Unlock(at, halves) => {
                let now = cluster.now;
                edit_key(cluster, *at, |key| key.spec.unlocked_at = Some(half_hours_from(now, *halves)));
            }
            Self::EditScope(at, scope) => {
                let scope = scope.resolve(cluster, names.namespaces);
                edit_key(cluster, *at, |key| key.spec.scope = scope);
            }
            Self::EditExpiry(at, halves) => {
                let end = halves.map(|halves| half_hours_from(cluster.now, halves));
                edit_key(cluster, *at, |key| key.spec.expires_at = end);
            }
            Self::Revoke(at) => edit_key(cluster, *at, |key| key.spec.revoked = Some(true)),
            Self::DeleteKey(at) => with_one::<ApiKey>(cluster, *at, Cluster::delete::<ApiKey>),
            Self::CreateSshKey { home, name, key, default } => {
                let metadata = Place::within(names.accounts[*home], &format!("ssh-{name}")).metadata();
                let spec = SshKeySpec {
                    display_name: None,
                    public_key: specs::public_key(*key),
                    default: default.then_some(true),
                };
                let _ = cluster.create(SshKey { metadata, spec, status: None });
            }
            Self::EditSshDefault(at, default) => with_one::<SshKey>(cluster, *at, |cluster, place| {
                edit::<SshKey>(cluster, place, |key| key.spec.default = Some(*default));
            }),
            Self::DeleteSshKey(at) => with_one::<SshKey>(cluster, *at, Cluster::delete::<SshKey>),
            disturbance => disturbance.disturb(cluster, names),
        }
        // Two objects of one second are rivals whose UIDs decide; most are not.
        if !matches!(self, Self::CreateKey { name: 0, .. } | Self::CreateSshKey { name: 0, .. }) {
            cluster.pass(1);
        }
    }

    /// The steps that are no declarations.
    fn disturb(&self, cluster: &mut Cluster, names: Names) {
        match self {
            Self::StripFinalizer(at) => {
                with_one::<ApiKey>(cluster, *at, |cluster, place| {
                    cluster.set_finalizers::<ApiKey>(place, vec![]);
                });
                with_one::<Namespace>(cluster, *at, |cluster, place| {
                    cluster.set_finalizers::<Namespace>(place, vec![]);
                });
            }
            Self::Vanish(at) => with_one::<ApiKey>(cluster, *at, |cluster, place| {
                cluster.set_finalizers::<ApiKey>(place, vec![]);
                cluster.delete::<ApiKey>(place);
            }),
            Self::SquatNamespace(home, name) => {
                let home = names.accounts[*home];
                let core =
                    name.map_or_else(|| home.to_owned(), |name| format!("{home}-{}", names.namespaces[name]));
                let _ = cluster.create_child(&core_namespace(&core));
            }
            Self::DeleteCore(at) => tampering::delete_one(cluster, *at, true),
            Self::DeleteChild(at) => tampering::delete_one(cluster, *at, false),
            Self::Tamper(at, how) => tampering::tamper_with_one(cluster, *at, *how),
            Self::ForgeBinding { key, within } => tampering::forge_binding(cluster, *key, *within),
            Self::ForgeReady(at) => with_one::<ApiKey>(cluster, *at, forge_ready),
            Self::Lock(at) => with_one::<ApiKey>(cluster, *at, lock),
            Self::CollectNamespaces => cluster.collect_namespaces(),
            Self::PassHours(hours) => cluster.pass(3600 * hours),
            Self::Reconcile { seed, writes } => {
                crate::driver::look_at_all(cluster, *seed, &mut crate::driver::Budget::of(*writes));
            }
            declaration => unreachable!("{declaration:?} is applied above"),
        }
    }
}
