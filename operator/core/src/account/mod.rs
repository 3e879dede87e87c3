//! `Account`: the home namespace, the owners' RoleBinding, and what the account has of what it may have.

mod plan;

pub use plan::{Holdings, ObservedAccount, plan};
