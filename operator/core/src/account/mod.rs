//! `Account`: the home namespace, whose it is, the owners' RoleBinding, and what the account has of what it may have.

mod owners;
mod plan;

pub use owners::{owning_subjects, subjects_of};
pub use plan::{Holdings, ObservedAccount, plan};
