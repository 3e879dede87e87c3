//! Which entries of a kubeconfig are for something else than those of the same names that shall go into it: another
//! server, exchange, key or cluster. They are left alone, and what would solve it is told at once for all of them.

use serde_json::{Map, Value, json};

use crate::exchange::address::BaseUrl;
use crate::failure::{Failure, FailureKind};
use crate::kubeconfig::entries::{Cluster, Context, EXTENSION, Entries, Section, User};
use crate::kubeconfig::exec_args::ExecArgs;

/// Names that are told of one section.
const NAMES_MAX: usize = 3;

/// An entry that is for something else.
struct Conflict<'a> {
    section: Section,
    name: &'a str,
    place: &'a str,
    /// In what it differs; nothing when it only would, by the name that another entry has to get.
    differences: Vec<String>,
}

/// Refuses what must not be replaced. Of each file comes what names it, and what it says; those that count more come first.
///
/// # Errors
/// [`FailureKind::File`], with all such entries and the arguments that give all of them other names.
pub fn refuse(files: &[(&str, &Value)], entries: &Entries) -> Result<(), Failure> {
    let mut conflicts = conflicts(files, entries);
    let has = |conflicts: &[Conflict], section| conflicts.iter().any(|conflict| conflict.section == section);
    let is_cluster_renamed = has(&conflicts, Section::Clusters);
    if is_cluster_renamed && entries.contexts_follow_cluster {
        // They get other names by that.
        conflicts.retain(|conflict| conflict.section != Section::Contexts);
    } else if is_cluster_renamed || has(&conflicts, Section::Users) {
        for context in &entries.contexts {
            let is_told = conflicts.iter().any(|told| is_of(told, context));
            if let Some((place, _)) = found(files, Section::Contexts, &context.name)
                .filter(|(_, fields)| !is_told && !fields.is_empty())
            {
                let section = Section::Contexts;
                conflicts.push(Conflict { section, name: &context.name, place, differences: Vec::new() });
            }
        }
    }
    if conflicts.is_empty() { Ok(()) } else { Err(refusal(&conflicts, entries.contexts.len())) }
}

fn is_of(conflict: &Conflict, context: &Context) -> bool {
    conflict.section == Section::Contexts && conflict.name == context.name
}

fn conflicts<'a>(files: &[(&'a str, &'a Value)], entries: &'a Entries) -> Vec<Conflict<'a>> {
    let judged = |section, name, differences: &dyn Fn(&Map<String, Value>) -> Vec<String>| {
        let (place, content) = found(files, section, name)?;
        let differences = differences(content);
        (!differences.is_empty()).then_some(Conflict { section, name, place, differences })
    };
    let cluster = entries.cluster.iter();
    let cluster = cluster.filter_map(|cluster| {
        judged(Section::Clusters, &cluster.name, &|content| cluster_differences(content, cluster))
    });
    let user = entries.user.iter();
    let user = user
        .filter_map(|user| judged(Section::Users, &user.name, &|content| user_differences(content, user)));
    let contexts = entries.contexts.iter();
    let contexts = contexts.filter_map(|context| {
        judged(Section::Contexts, &context.name, &|content| context_differences(content, context))
    });
    cluster.chain(user).chain(contexts).collect()
}

/// The content of the entry of this name, and in which file it counts.
fn found<'a>(
    files: &[(&'a str, &'a Value)],
    section: Section,
    name: &str,
) -> Option<(&'a str, &'a Map<String, Value>)> {
    let (place, entry) =
        files.iter().find_map(|(place, config)| Some((*place, section.entry(config, name)?)))?;
    entry.get(section.content()).and_then(Value::as_object).map(|content| (place, content))
}

fn refusal(conflicts: &[Conflict], contexts: usize) -> Failure {
    let sections = [Section::Clusters, Section::Users, Section::Contexts];
    let of = |section| conflicts.iter().filter(move |conflict| conflict.section == section);
    let options: Vec<&str> = sections
        .into_iter()
        .filter(|section| of(*section).next().is_some())
        .map(|section| match section {
            Section::Clusters => "--cluster",
            Section::Users => "--user",
            Section::Contexts if contexts > 1 => "--context-prefix",
            Section::Contexts => "--context",
        })
        .collect();
    if let [Conflict { section, name, place, differences }] = conflicts {
        return Failure::new(
            FailureKind::File,
            format!(
                "there is already another {} of the name {name:?}: it differs in {}",
                section.content(),
                differences.join(", ")
            ),
            format!("{} of {place}", section.list()),
            format!("choose another name with {}, or give --replace", options.concat()),
        );
    }
    let told: Vec<String> =
        sections.into_iter().filter_map(|section| told(section, &of(section).collect::<Vec<_>>())).collect();
    let mut places: Vec<&str> = Vec::new();
    for conflict in conflicts {
        if !places.contains(&conflict.place) {
            places.push(conflict.place);
        }
    }
    Failure::new(
        FailureKind::File,
        format!("there are already other entries of these names: {}", told.join(", ")),
        places.join(", "),
        format!("choose other names with {}, or give --replace", options.join(" and ")),
    )
}

/// The entries of one section, and in what they differ.
fn told(section: Section, conflicts: &[&Conflict]) -> Option<String> {
    let names: Vec<String> =
        conflicts.iter().take(NAMES_MAX).map(|conflict| format!("{:?}", conflict.name)).collect();
    let more = match conflicts.len().saturating_sub(NAMES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let mut differences: Vec<&str> = Vec::new();
    for difference in conflicts.iter().flat_map(|conflict| &conflict.differences) {
        if !differences.contains(&difference.as_str()) {
            differences.push(difference);
        }
    }
    let is_one = conflicts.len() == 1;
    let why = match (differences.as_slice(), is_one) {
        ([], true) => "uses it".to_owned(),
        ([], false) => "use it".to_owned(),
        (differences, true) => format!("differs in {}", differences.join(", ")),
        (differences, false) => format!("differ in {}", differences.join(", ")),
    };
    let what = if is_one { section.content() } else { section.list() };
    (!conflicts.is_empty()).then(|| format!("{what} {}{more} ({why})", names.join(", ")))
}

/// In what a cluster's entry is for something else.
#[must_use]
pub fn cluster_differences(content: &Map<String, Value>, cluster: &Cluster) -> Vec<String> {
    let found = [
        (differs(content, "server", &json!(cluster.server)), "the API server's address"),
        (names_another_exchange(content, cluster), "the exchange"),
        (!cluster.is_users_word && trusts_another(content, cluster), "the API server's CA"),
    ];
    named(found)
}

/// In what a user's entry is for another key: the arguments of its `exec` section decide, but for those that allow an
/// exchange. kubectl writes `env: null` for no `env`.
#[must_use]
pub fn user_differences(content: &Map<String, Value>, user: &User) -> Vec<String> {
    if content.is_empty() {
        return Vec::new();
    }
    let Some(exec) = content.get("exec").filter(|exec| !exec.is_null()) else {
        return vec!["how it logs in".to_owned()];
    };
    let field = |exec: &Value, name| exec.get(name).filter(|value| !value.is_null()).cloned();
    let is_other = |name| field(exec, name) != field(&user.exec, name);
    if is_other("command") {
        // The arguments of another program say nothing here.
        return vec!["the command of its exec section".to_owned()];
    }
    let mut found = ExecArgs::of(exec).differences(&ExecArgs::of(&user.exec));
    if is_other("env") {
        found.push("the env of its exec section".to_owned());
    }
    found
}

/// In what a context's entry is for something else.
#[must_use]
pub fn context_differences(fields: &Map<String, Value>, context: &Context) -> Vec<String> {
    named([
        (differs(fields, "cluster", &json!(context.cluster)), "the cluster"),
        (differs(fields, "user", &json!(context.user)), "the user"),
    ])
}

fn named<const N: usize>(found: [(bool, &str); N]) -> Vec<String> {
    found.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what.to_owned()).collect()
}

/// Whether a cluster's entry that is not of the same exchange trusts something else than this CA. An exchange must not
/// decide whom people trust as a cluster that they have from elsewhere.
fn trusts_another(content: &Map<String, Value>, cluster: &Cluster) -> bool {
    !exec_extensions(content).any(|extension| is_same_exchange(extension, &cluster.exchange))
        && content.get("certificate-authority-data").and_then(Value::as_str) != cluster.ca.as_deref()
        && content.contains_key("server")
}

/// Whether a cluster's entry says of another exchange, or to another plugin, where its tokens come from: who made it
/// relies on that.
fn names_another_exchange(content: &Map<String, Value>, cluster: &Cluster) -> bool {
    let says_something = |extension: &&Value| match extension {
        Value::Null => false,
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    exec_extensions(content)
        .filter(says_something)
        .any(|extension| !is_same_exchange(extension, &cluster.exchange))
}

/// The contents of a cluster's extensions of our name.
fn exec_extensions(content: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let extensions = content.get("extensions").and_then(Value::as_array).into_iter().flatten();
    extensions
        .filter(|extension| extension.get("name") == Some(&json!(EXTENSION)))
        .filter_map(|extension| extension.get("extension"))
}

/// Whether two contents of the extension name the same exchange, however its address is written.
fn is_same_exchange(old: &Value, new: &Value) -> bool {
    let address = |extension: &Value| {
        let text = extension.get("server")?.as_str()?;
        BaseUrl::parse(text).ok()
    };
    address(old).is_some_and(|old| address(new) == Some(old))
}

fn differs(map: &Map<String, Value>, field: &str, wanted: &Value) -> bool {
    map.get(field).is_some_and(|value| value != wanted)
}
