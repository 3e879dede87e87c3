//! What a caller must be allowed, and whether a key's scope includes it.

use std::fmt;
use std::str::FromStr;

use keyplane_crds::Scope;
use thiserror::Error;

/// What is asked of a key, in the words of seed 003.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequiredScope {
    /// Everything: only a key with scope `all`.
    All,
    /// The inference API.
    Inference,
    /// The SSH key API.
    SshKeys,
    /// Kubernetes, in whichever namespaces.
    KubernetesExec,
}

/// A text that names no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the scope to require is one of all, inference, ssh_keys and kubernetes_exec")]
pub struct UnknownScope;

impl RequiredScope {
    /// Every scope that can be required.
    pub const ALL: [Self; 4] = [Self::All, Self::Inference, Self::SshKeys, Self::KubernetesExec];

    /// Its name, as in a key's `scopes`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Inference => "inference",
            Self::SshKeys => "ssh_keys",
            Self::KubernetesExec => "kubernetes_exec",
        }
    }

    /// Whether a key with this scope has what is required. `all` includes everything.
    #[must_use]
    pub fn is_included_in(self, scope: &Scope) -> bool {
        let has = |flag: Option<bool>| flag == Some(true);
        has(scope.all)
            || match self {
                Self::All => false,
                Self::Inference => has(scope.inference),
                Self::SshKeys => has(scope.ssh_keys),
                Self::KubernetesExec => scope.kubernetes_exec.is_some(),
            }
    }

    /// The one scope that a key has; none where its declaration names none.
    #[must_use]
    pub fn of(scope: &Scope) -> Option<Self> {
        Self::ALL.into_iter().find(|required| required.is_included_in(scope))
    }
}

impl fmt::Display for RequiredScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for RequiredScope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(UnknownScope)
    }
}
