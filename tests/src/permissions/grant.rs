//! Single rights: a rule of RBAC taken apart.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::PolicyRule;

/// What a rule is about: everything in it but the verbs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleKey {
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource, such as `pods` or `pods/log`; or a URL path.
    pub resource: String,
    /// The object's name; none for any.
    pub name: Option<String>,
}

impl std::fmt::Display for RuleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match &self.name {
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}

/// What a subject may do with one resource in one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// Who.
    pub subject: String,
    /// In which namespace, or `everywhere`, or `where bound`.
    pub place: String,
    /// With what.
    pub key: RuleKey,
    /// What.
    pub verb: String,
}

impl Grant {
    /// The rights that these rules give.
    #[must_use]
    pub fn of_rules(subject: &str, place: &str, rules: &[PolicyRule]) -> Vec<Self> {
        let grant = |(key, verb)| Self { subject: subject.to_owned(), place: place.to_owned(), key, verb };
        rights(rules).into_iter().map(grant).collect()
    }
}

/// The rights in these rules, one by one, however the rules group them.
#[must_use]
pub fn rights(rules: &[PolicyRule]) -> BTreeSet<(RuleKey, String)> {
    rules
        .iter()
        .flat_map(|rule| {
            keys(rule)
                .into_iter()
                .flat_map(|key| rule.verbs.iter().map(move |verb| (key.clone(), verb.clone())))
        })
        .collect()
}

fn keys(rule: &PolicyRule) -> Vec<RuleKey> {
    let names: Vec<Option<String>> = match rule.resource_names.as_deref() {
        None | Some([]) => vec![None],
        Some(names) => names.iter().cloned().map(Some).collect(),
    };
    let mut keys = Vec::new();
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            keys.extend(names.iter().map(|name| RuleKey {
                group: group.clone(),
                resource: resource.clone(),
                name: name.clone(),
            }));
        }
    }
    let urls = rule.non_resource_urls.iter().flatten();
    keys.extend(urls.map(|url| RuleKey { group: String::new(), resource: url.clone(), name: None }));
    keys
}

/// The same rights with the verbs of each resource together.
pub(super) fn by_resource(rights: BTreeSet<(RuleKey, String)>) -> BTreeMap<RuleKey, BTreeSet<String>> {
    let mut verbs: BTreeMap<RuleKey, BTreeSet<String>> = BTreeMap::new();
    for (key, verb) in rights {
        verbs.entry(key).or_default().insert(verb);
    }
    verbs
}
