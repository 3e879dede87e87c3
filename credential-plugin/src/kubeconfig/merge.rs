//! How this plugin's entries join a kubeconfig: pure, and nothing of anybody else's is lost.
//!
//! A kubeconfig is held as JSON values, which is what kubectl makes of it: unknown fields, other entries and other
//! extensions stay. This is the rule of what a merged file says; [`text_edit`](super::text_edit) keeps how it is written.

use serde_json::{Map, Value, json};

use crate::failure::{Failure, FailureKind};
use crate::kubeconfig::conflict;
use crate::kubeconfig::entries::{Cluster, Context, EXTENSION, Entries, Section, User};
use crate::kubeconfig::exec_args::ExecArgs;

/// What may be changed besides adding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// Entries of the same name may be replaced, whatever they were for.
    pub replace: bool,
    /// The context becomes the current one even when there is one.
    pub set_current: bool,
}

/// Merges the entries into a kubeconfig; `Null` stands for an empty one. `place` names the file in errors. Merging twice
/// is merging once.
///
/// # Errors
/// [`FailureKind::File`] when `config` is no kubeconfig, or when an entry of the same name is for another server,
/// exchange, key or cluster and may not be replaced.
pub fn merge(
    config: Value,
    entries: &Entries,
    permission: Permission,
    place: &str,
) -> Result<Value, Failure> {
    if config.get("kind").is_some_and(|kind| kind != "Config") {
        return Err(not_a_kubeconfig("its kind is not Config", place));
    }
    if !permission.replace {
        conflict::refuse(&[(place, &config)], entries)?;
    }
    let mut root = match config {
        Value::Null => Map::new(),
        Value::Object(root) => root,
        _ => return Err(not_a_kubeconfig("it is no mapping", place)),
    };
    root.entry("apiVersion").or_insert_with(|| json!("v1"));
    root.entry("kind").or_insert_with(|| json!("Config"));
    let mut config = Config { root, place };
    if let Some(cluster) = &entries.cluster {
        config.add_cluster(cluster)?;
    }
    if let Some(user) = &entries.user {
        config.add_user(user)?;
    }
    for context in &entries.contexts {
        config.add_context(context)?;
    }
    if let Some(current) = &entries.current_context
        && (permission.set_current || !has_current(&config.root))
    {
        config.root.insert("current-context".to_owned(), json!(current));
    }
    Ok(Value::Object(config.root))
}

fn has_current(root: &Map<String, Value>) -> bool {
    root.get("current-context").and_then(Value::as_str).is_some_and(|current| !current.is_empty())
}

struct Config<'a> {
    root: Map<String, Value>,
    place: &'a str,
}

impl Config<'_> {
    fn add_cluster(&mut self, cluster: &Cluster) -> Result<(), Failure> {
        let place = self.place;
        let content = self.content(Section::Clusters, &cluster.name, |content| {
            !conflict::cluster_differences(content, cluster).is_empty()
        })?;
        content.insert("server".to_owned(), json!(cluster.server));
        if let Some(ca) = &cluster.ca {
            content.insert("certificate-authority-data".to_owned(), json!(ca));
            // Either would contradict the CA.
            content.remove("certificate-authority");
            content.remove("insecure-skip-tls-verify");
        }
        let ours = json!({"name": EXTENSION, "extension": cluster.exchange});
        let extensions = list(content, "extensions", place)?;
        match extensions.iter_mut().find(|extension| extension.get("name") == Some(&json!(EXTENSION))) {
            Some(extension) => *extension = ours,
            None => extensions.push(ours),
        }
        Ok(())
    }

    fn add_user(&mut self, user: &User) -> Result<(), Failure> {
        let content = self.content(Section::Users, &user.name, |content| {
            !conflict::user_differences(content, user).is_empty()
        })?;
        set_exec(content, &user.exec);
        Ok(())
    }

    fn add_context(&mut self, context: &Context) -> Result<(), Failure> {
        let fields = self.content(Section::Contexts, &context.name, |fields| {
            !conflict::context_differences(fields, context).is_empty()
        })?;
        fields.insert("cluster".to_owned(), json!(context.cluster));
        fields.insert("user".to_owned(), json!(context.user));
        if let Some(namespace) = &context.namespace {
            fields.insert("namespace".to_owned(), json!(namespace));
        }
        Ok(())
    }

    /// The content of the section's entry of this name, added when missing, and emptied when it is for something else: that
    /// was permitted, or it would have been refused before.
    fn content(
        &mut self,
        section: Section,
        name: &str,
        is_anothers: impl FnOnce(&Map<String, Value>) -> bool,
    ) -> Result<&mut Map<String, Value>, Failure> {
        let place = self.place;
        let (list_name, content_name) = (section.list(), section.content());
        let entries = list(&mut self.root, list_name, place)?;
        let position = entries.iter().position(|entry| entry.get("name") == Some(&json!(name)));
        let index = position.unwrap_or_else(|| {
            entries.push(json!({"name": name, content_name: {}}));
            entries.len() - 1
        });
        let malformed =
            || not_a_kubeconfig(&format!("the entry {name:?} of {list_name} is no mapping"), place);
        let outer = entries.get_mut(index).and_then(Value::as_object_mut).ok_or_else(malformed)?;
        let content = outer.entry(content_name).or_insert(Value::Null);
        if content.is_null() {
            *content = json!({});
        }
        let content = content.as_object_mut().ok_or_else(malformed)?;
        if is_anothers(content) {
            content.clear();
        }
        Ok(content)
    }
}

/// Writes our fields over the section's, and leaves those that we do not know and what it allows.
fn set_exec(user: &mut Map<String, Value>, exec: &Value) {
    let old = user.entry("exec").or_insert_with(|| json!({}));
    let args = ExecArgs::of(exec).added_to(ExecArgs::of(old));
    match (old.as_object_mut(), exec.as_object()) {
        (Some(fields), Some(new)) => {
            fields.extend(new.clone());
            fields.insert("args".to_owned(), args);
        }
        _ => *old = exec.clone(),
    }
}

fn list<'a>(map: &'a mut Map<String, Value>, name: &str, place: &str) -> Result<&'a mut Vec<Value>, Failure> {
    let value = map.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = json!([]);
    }
    value.as_array_mut().ok_or_else(|| not_a_kubeconfig(&format!("its {name} is no list"), place))
}

fn not_a_kubeconfig(why: &str, place: &str) -> Failure {
    Failure::new(
        FailureKind::File,
        format!("the file is no kubeconfig: {why}"),
        place,
        "mend it by hand, or give another file with --merge-into",
    )
}
