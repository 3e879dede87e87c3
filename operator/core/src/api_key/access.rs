//! What a key may do, in the few words that `kubectl get apikeys` has room for.

use keyplane_crds::Scope;

use super::scope::Grant;

/// How many namespaces are named before the rest are counted.
const NAMED: usize = 3;

/// What a key with this scope and grant may do.
#[must_use]
pub fn describe(scope: &Scope, grant: Option<&Grant>) -> String {
    let Some(grant) = grant else {
        let what = if scope.ssh_keys == Some(true) { "SSH keys" } else { "inference" };
        return what.to_owned();
    };
    let names: Vec<&str> = grant.namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
    let mut places = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        places = format!("{places} and {} more", names.len() - NAMED);
    }
    if places.is_empty() {
        "no namespaces yet".clone_into(&mut places);
    }
    let everything = if scope.all == Some(true) { "all; " } else { "" };
    format!("{everything}{} in {places}", grant.role.as_str())
}
