//! Whose an account is: the RBAC subjects of `spec.owners`, as the API server names whoever calls it.

use keyplane_crds::{Account, OwnerKind};

/// The subjects that own an account, each in one text.
#[must_use]
pub fn owning_subjects(account: &Account) -> Vec<String> {
    let subject = |owner: &keyplane_crds::Owner| match owner.kind {
        OwnerKind::User => user(&owner.name),
        OwnerKind::Group => group(&owner.name),
        OwnerKind::ServiceAccount => {
            let namespace = owner.namespace.as_deref().unwrap_or_default();
            user(&format!("system:serviceaccount:{namespace}:{}", owner.name))
        }
    };
    account.spec.owners.iter().map(subject).collect()
}

/// The subjects that somebody is whom the API server knows by this user name and these groups.
#[must_use]
pub fn subjects_of(user_name: &str, groups: &[String]) -> Vec<String> {
    std::iter::once(user(user_name)).chain(groups.iter().map(|name| group(name))).collect()
}

fn user(name: &str) -> String {
    format!("user/{name}")
}

fn group(name: &str) -> String {
    format!("group/{name}")
}
