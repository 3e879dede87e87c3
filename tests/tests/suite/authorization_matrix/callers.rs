//! Who calls: each row of the matrix as the headers that it sends.

/// A caller.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) name: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) query: Option<String>,
}

/// Everything that a caller can present, in plaintext.
#[derive(Default)]
pub(super) struct Credentials {
    pub(super) account: String,
    pub(super) owner: String,
    pub(super) viewer: String,
    pub(super) stranger: String,
    pub(super) administrator: String,
    /// What the exchange gave for the key of scope `all`.
    pub(super) keys_token: String,
    /// The owner's, bound to a Secret that is gone.
    pub(super) ended: String,
    /// The owner's, for another audience.
    pub(super) elsewhere: String,
    pub(super) all: String,
    pub(super) inference: String,
    pub(super) ssh_keys: String,
    pub(super) kubernetes_exec: String,
    pub(super) unknown: String,
    pub(super) expired: String,
    pub(super) revoked: String,
    pub(super) deleted: String,
    pub(super) rotated_out: String,
    pub(super) locked: String,
    pub(super) not_ready: String,
    /// Keys with a list of addresses, one for each header: a denied use counts, and the twentieth locks.
    pub(super) listed: [String; 2],
    pub(super) of_another: String,
}

const TOKEN: &str = "authorization";
const KEY: &str = "x-api-key";
const ACCOUNT: &str = "x-keyplane-account";

fn bearer(text: &str) -> (&'static str, String) {
    (TOKEN, format!("Bearer {text}"))
}

fn key(text: &str) -> (&'static str, String) {
    (KEY, text.to_owned())
}

/// From an address that the list of the locked key allows: nothing but the lock is in the way.
fn allowed() -> (&'static str, String) {
    ("x-forwarded-for", "203.0.113.7".to_owned())
}

/// Every caller.
pub(super) fn callers(has: &Credentials) -> Vec<Caller> {
    let naming = || (ACCOUNT, has.account.clone());
    let row = |name, headers| Caller { name, headers, query: None };
    let mut in_query = row("another owner, in the query", vec![bearer(&has.stranger)]);
    in_query.query = Some(format!("account={}", has.account));
    let slip = format!("{}x", has.all);
    vec![
        row("nobody", vec![]),
        row("another scheme", vec![(TOKEN, format!("Basic {}", has.owner))]),
        row("a garbage token", vec![bearer("not.a.token")]),
        row("a key with a slip, as token", vec![bearer(&slip)]),
        row("a key with a slip", vec![key(&slip)]),
        row("an owner's ended token", vec![bearer(&has.ended)]),
        row("an owner's token, elsewhere", vec![bearer(&has.elsewhere)]),
        row("another owner", vec![bearer(&has.stranger)]),
        row("another owner, naming it", vec![bearer(&has.stranger), naming()]),
        in_query,
        row("viewer", vec![bearer(&has.viewer)]),
        row("viewer, naming it", vec![bearer(&has.viewer), naming()]),
        row("owner", vec![bearer(&has.owner)]),
        row("owner, naming it", vec![bearer(&has.owner), naming()]),
        row("administrator", vec![bearer(&has.administrator)]),
        row("administrator, naming it", vec![bearer(&has.administrator), naming()]),
        row("key's token", vec![bearer(&has.keys_token)]),
        row("key's token, naming it", vec![bearer(&has.keys_token), naming()]),
        row("all", vec![key(&has.all)]),
        row("inference", vec![key(&has.inference)]),
        row("sshKeys", vec![key(&has.ssh_keys)]),
        row("kubernetesExec", vec![key(&has.kubernetes_exec)]),
        row("all, bearer", vec![bearer(&has.all)]),
        row("inference, bearer", vec![bearer(&has.inference)]),
        row("sshKeys, bearer", vec![bearer(&has.ssh_keys)]),
        row("kubernetesExec, bearer", vec![bearer(&has.kubernetes_exec)]),
        row("unknown", vec![key(&has.unknown)]),
        row("expired", vec![key(&has.expired)]),
        row("revoked", vec![key(&has.revoked)]),
        row("deleted", vec![key(&has.deleted)]),
        row("rotated out", vec![key(&has.rotated_out)]),
        row("locked", vec![key(&has.locked), allowed()]),
        row("not ready", vec![key(&has.not_ready)]),
        row("elsewhere", vec![key(&has.listed[0])]),
        row("unknown, bearer", vec![bearer(&has.unknown)]),
        row("expired, bearer", vec![bearer(&has.expired)]),
        row("revoked, bearer", vec![bearer(&has.revoked)]),
        row("deleted, bearer", vec![bearer(&has.deleted)]),
        row("rotated out, bearer", vec![bearer(&has.rotated_out)]),
        row("locked, bearer", vec![bearer(&has.locked), allowed()]),
        row("not ready, bearer", vec![bearer(&has.not_ready)]),
        row("elsewhere, bearer", vec![bearer(&has.listed[1])]),
        row("another account's", vec![key(&has.of_another)]),
        row("another account's, naming it", vec![key(&has.of_another), naming()]),
        row("another account's, bearer", vec![bearer(&has.of_another)]),
        row("a key twice", vec![key(&has.all), key(&has.all)]),
        row("a key twice, bearer", vec![bearer(&has.all), bearer(&has.all)]),
        row("two keys in a list", vec![key(&format!("{}, {}", has.all, has.all))]),
        row("a key in both headers", vec![key(&has.all), bearer(&has.all)]),
        row("owner with a key", vec![bearer(&has.owner), key(&has.all)]),
        row("owner's token twice", vec![bearer(&has.owner), bearer(&has.owner)]),
    ]
}
