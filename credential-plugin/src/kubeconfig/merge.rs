//! How this cluster's entries join a kubeconfig: pure, and nothing of anybody else's is lost.
//!
//! A kubeconfig is held as JSON values, which is what kubectl makes of it: unknown fields, other entries and other
//! extensions stay. Keys come out in alphabetical order, as kubectl itself writes them.

use serde_json::{Map, Value, json};

use crate::exchange::allowed::ALLOW_SERVER;
use crate::failure::{Failure, FailureKind};

/// The cluster extension that the client hands to the plugin (`provideClusterInfo`, KEP-541).
pub const EXTENSION: &str = "client.authentication.k8s.io/exec";

/// The entries of one cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Entries {
    /// Name of the cluster's entry.
    pub cluster_name: String,
    /// The API server's URL.
    pub cluster_server: String,
    /// The API server's CA, base64 of PEM.
    pub cluster_ca: Option<String>,
    /// The content of the extension [`EXTENSION`].
    pub exchange: Value,
    /// Name of the user's entry.
    pub user_name: String,
    /// The user's `exec` section.
    pub exec: Value,
    /// Name of the context's entry.
    pub context_name: String,
    /// The context's namespace.
    pub namespace: Option<String>,
}

/// What may be changed besides adding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// Entries of the same name may be replaced, whatever they were for.
    pub replace: bool,
    /// The context becomes the current one even when there is one.
    pub set_current: bool,
}

/// Merges the entries into a kubeconfig; `Null` stands for an empty one. Merging twice is merging once.
///
/// # Errors
/// [`FailureKind::File`] when `config` is no kubeconfig, or when an entry of the same name is for another server, key
/// or cluster and may not be replaced.
pub fn merge(config: Value, entries: &Entries, permission: Permission) -> Result<Value, Failure> {
    let mut root = match config {
        Value::Null => Map::new(),
        Value::Object(root) => root,
        _ => return Err(not_a_kubeconfig("it is no mapping")),
    };
    if root.get("kind").is_some_and(|kind| kind != "Config") {
        return Err(not_a_kubeconfig("its kind is not Config"));
    }
    root.entry("apiVersion").or_insert_with(|| json!("v1"));
    root.entry("kind").or_insert_with(|| json!("Config"));

    let Entries { cluster_name, user_name, context_name, .. } = entries;
    let cluster = entry(&mut root, "clusters", "cluster", cluster_name, permission, |cluster| {
        differs(cluster, "server", &json!(entries.cluster_server))
    })?;
    set_cluster(cluster, entries)?;

    let user = entry(&mut root, "users", "user", user_name, permission, |user| {
        !user.is_empty() && !is_same_key(user.get("exec"), &entries.exec)
    })?;
    set_exec(user, &entries.exec);

    let context = entry(&mut root, "contexts", "context", context_name, permission, |context| {
        differs(context, "cluster", &json!(cluster_name)) || differs(context, "user", &json!(user_name))
    })?;
    context.insert("cluster".to_owned(), json!(cluster_name));
    context.insert("user".to_owned(), json!(user_name));
    if let Some(namespace) = &entries.namespace {
        context.insert("namespace".to_owned(), json!(namespace));
    }

    let has_current =
        root.get("current-context").and_then(Value::as_str).is_some_and(|current| !current.is_empty());
    if !has_current || permission.set_current {
        root.insert("current-context".to_owned(), json!(context_name));
    }
    Ok(Value::Object(root))
}

fn set_cluster(cluster: &mut Map<String, Value>, entries: &Entries) -> Result<(), Failure> {
    cluster.insert("server".to_owned(), json!(entries.cluster_server));
    if let Some(ca) = &entries.cluster_ca {
        cluster.insert("certificate-authority-data".to_owned(), json!(ca));
        // Either would contradict the CA.
        cluster.remove("certificate-authority");
        cluster.remove("insecure-skip-tls-verify");
    }
    let extensions = list(cluster, "extensions")?;
    extensions.retain(|extension| extension.get("name") != Some(&json!(EXTENSION)));
    extensions.push(json!({"name": EXTENSION, "extension": entries.exchange}));
    Ok(())
}

/// Whether two `exec` sections call the same plugin for the same key. kubectl writes `env: null` for no `env`.
fn is_same_key(old: Option<&Value>, new: &Value) -> bool {
    let field = |exec: &Value, name| exec.get(name).filter(|value| !value.is_null()).cloned();
    old.is_some_and(|old| {
        ["command", "env"].into_iter().all(|name| field(old, name) == field(new, name))
            && Arguments::of(old).others == Arguments::of(new).others
    })
}

/// The arguments of an `exec` section. Those that allow an exchange add up when clusters are merged.
struct Arguments {
    allowed: Vec<Value>,
    others: Vec<Value>,
}

impl Arguments {
    fn of(exec: &Value) -> Self {
        let (mut allowed, mut others) = (Vec::new(), Vec::new());
        let mut args = exec.get("args").and_then(Value::as_array).into_iter().flatten();
        while let Some(arg) = args.next() {
            let text = arg.as_str().unwrap_or_default();
            if text == ALLOW_SERVER {
                allowed.extend(args.next().cloned());
            } else if let Some(value) =
                text.strip_prefix(ALLOW_SERVER).and_then(|rest| rest.strip_prefix('='))
            {
                allowed.push(json!(value));
            } else {
                others.push(arg.clone());
            }
        }
        Self { allowed, others }
    }

    /// These arguments, after what the older ones allowed.
    fn added_to(self, old: Self) -> Value {
        let mut allowed = old.allowed;
        for value in self.allowed {
            if !allowed.contains(&value) {
                allowed.push(value);
            }
        }
        let allowed = allowed.into_iter().flat_map(|value| [json!(ALLOW_SERVER), value]);
        self.others.into_iter().chain(allowed).collect()
    }
}

/// Writes our fields over the section's, and leaves those that we do not know and what it allows.
fn set_exec(user: &mut Map<String, Value>, exec: &Value) {
    let old = user.entry("exec").or_insert_with(|| json!({}));
    let args = Arguments::of(exec).added_to(Arguments::of(old));
    match (old.as_object_mut(), exec.as_object()) {
        (Some(fields), Some(new)) => {
            fields.extend(new.clone());
            fields.insert("args".to_owned(), args);
        }
        _ => *old = exec.clone(),
    }
}

fn differs(map: &Map<String, Value>, field: &str, wanted: &Value) -> bool {
    map.get(field).is_some_and(|value| value != wanted)
}

/// The inner mapping of the entry of this name in one of the root's lists, added when missing.
fn entry<'a>(
    root: &'a mut Map<String, Value>,
    list_name: &str,
    inner_name: &str,
    name: &str,
    permission: Permission,
    is_anothers: impl FnOnce(&Map<String, Value>) -> bool,
) -> Result<&'a mut Map<String, Value>, Failure> {
    let entries = list(root, list_name)?;
    let position = entries.iter().position(|entry| entry.get("name") == Some(&json!(name)));
    let index = position.unwrap_or_else(|| {
        entries.push(json!({"name": name, inner_name: {}}));
        entries.len() - 1
    });
    let malformed = || not_a_kubeconfig(&format!("the entry {name:?} of {list_name} is no mapping"));
    let outer = entries.get_mut(index).and_then(Value::as_object_mut).ok_or_else(malformed)?;
    let inner = outer.entry(inner_name).or_insert(Value::Null);
    if inner.is_null() {
        *inner = json!({});
    }
    let inner = inner.as_object_mut().ok_or_else(malformed)?;
    if is_anothers(inner) {
        if !permission.replace {
            return Err(Failure::new(
                FailureKind::File,
                format!("there is already another {inner_name} of the name {name:?}"),
                format!("{list_name} of the kubeconfig"),
                format!("choose another name with --{inner_name}, or give --replace"),
            ));
        }
        inner.clear();
    }
    Ok(inner)
}

fn list<'a>(map: &'a mut Map<String, Value>, name: &str) -> Result<&'a mut Vec<Value>, Failure> {
    let value = map.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = json!([]);
    }
    value.as_array_mut().ok_or_else(|| not_a_kubeconfig(&format!("its {name} is no list")))
}

fn not_a_kubeconfig(why: &str) -> Failure {
    Failure::new(
        FailureKind::File,
        format!("the file is no kubeconfig: {why}"),
        "--output",
        "mend it by hand, or give another file",
    )
}
