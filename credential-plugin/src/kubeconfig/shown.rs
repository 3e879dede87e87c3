//! Entries as a dry run shows them: as they would stand in the kubeconfig, without what is secret in them.

use serde_json::{Map, Value, json};

use crate::kubeconfig::entries::{EXTENSION, Section};
use crate::secret_text::{without_keys, without_userinfo};

/// The argument whose value is a proxy's URL.
const PROXY_URL: &str = "--proxy-url";
/// The fields of a cluster that can be shown.
const CLUSTER_FIELDS: [&str; 8] = [
    "server",
    "certificate-authority",
    "certificate-authority-data",
    "tls-server-name",
    "proxy-url",
    "insecure-skip-tls-verify",
    "disable-compression",
    "extensions",
];
/// The fields of an `exec` section that can be shown. The variables among them lose their values.
const EXEC_FIELDS: [&str; 7] =
    ["apiVersion", "args", "command", "env", "installHint", "interactiveMode", "provideClusterInfo"];

/// A kubeconfig of these entries alone.
#[must_use]
pub fn shown<'a>(
    entries: impl IntoIterator<Item = (Section, &'a Value)>,
    current_context: Option<&str>,
) -> Value {
    let mut lists =
        [Section::Clusters, Section::Users, Section::Contexts].map(|section| (section, Vec::new()));
    for (section, entry) in entries {
        for (_, list) in lists.iter_mut().filter(|(of, _)| *of == section) {
            list.push(shown_entry(section, entry.clone()));
        }
    }
    let mut config = Map::new();
    config.insert("apiVersion".to_owned(), json!("v1"));
    config.insert("kind".to_owned(), json!("Config"));
    for (section, list) in lists {
        config.insert(section.list().to_owned(), Value::Array(list));
    }
    if let Some(current) = current_context {
        config.insert("current-context".to_owned(), json!(current));
    }
    Value::Object(config)
}

/// Hidden is what others keep in an entry, how a user logs in by other means, what the plugin gets in its environment, who
/// logs in to a proxy, and what looks like a key among the arguments.
fn shown_entry(section: Section, mut entry: Value) -> Value {
    let Some(content) = entry.get_mut(section.content()).and_then(Value::as_object_mut) else { return entry };
    match section {
        Section::Clusters => {
            hide_all_but(&CLUSTER_FIELDS, content);
            for extension in content.get_mut("extensions").and_then(Value::as_array_mut).into_iter().flatten()
            {
                if let Some(fields) = extension.as_object_mut()
                    && fields.get("name").is_none_or(|name| name != EXTENSION)
                {
                    hide_all_but(&["name"], fields);
                }
            }
            if let Some(url) = content.get_mut("proxy-url") {
                *url = json!(without_userinfo(url.as_str().unwrap_or_default()));
            }
        }
        Section::Users => {
            hide_all_but(&["exec"], content);
            if let Some(exec) = content.get_mut("exec").and_then(Value::as_object_mut) {
                show_exec(exec);
            }
        }
        Section::Contexts => hide_all_but(&["cluster", "user", "namespace"], content),
    }
    entry
}

fn show_exec(exec: &mut Map<String, Value>) {
    hide_all_but(&EXEC_FIELDS, exec);
    for variable in exec.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(fields) = variable.as_object_mut() {
            hide_all_but(&["name"], fields);
        }
    }
    let mut is_proxy = false;
    for arg in exec.get_mut("args").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(text) = arg.as_str() else { continue };
        let told = if is_proxy { without_userinfo(text) } else { text.to_owned() };
        is_proxy = text == PROXY_URL;
        *arg = json!(without_keys(&told));
    }
}

fn hide_all_but(known: &[&str], fields: &mut Map<String, Value>) {
    for (name, value) in fields.iter_mut() {
        if !known.contains(&name.as_str()) && !value.is_null() {
            *value = json!("[redacted]");
        }
    }
}
