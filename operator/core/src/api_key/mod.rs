//! `ApiKey`: its lifecycle, what its scope resolves to, and what it is given.

mod access;
mod admission;
mod lifecycle;
mod plan;
mod scope;

pub use access::describe;
pub use admission::{Refusal, admit, holder};
pub use lifecycle::{Standing, standing};
pub use plan::{ANCHOR_TYPE, ObservedApiKey, plan};
pub use scope::{Grant, OwnedNamespace, ScopeError, reaches_kubernetes, resolve};
