//! A key's scope as the HTTP API writes it: the `snake_case` shapes of seed 003, and its sentences for what they are not.

use keyplane_crds::{ClusterRoleName, KubernetesExec, Scope};
use serde::{Deserialize, Serialize};

use super::scope::{ScopeError, check_shape};

/// `scopes` of a key in requests and answers. Exactly one of the four is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopePayload {
    /// Everything the account has.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub all: Option<bool>,
    /// The inference API.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub inference: Option<bool>,
    /// The SSH key API.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub ssh_keys: Option<bool>,
    /// kubectl, in namespaces of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_exec: Option<KubernetesExecPayload>,
}

/// `scopes.kubernetes_exec`: where a key may use Kubernetes, and as what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesExecPayload {
    /// Namespaces of the account by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespace_ids: Vec<String>,
    /// Namespaces of the account by name; not in seed 003, for keys that were declared with names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Every namespace of the account, those to come included.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub all_namespaces: Option<bool>,
    /// `view`, `edit` (when unset) or `admin`; not in seed 003.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<ClusterRoleName>,
}

#[allow(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to the field"
)]
fn is_unset(flag: &Option<bool>) -> bool {
    *flag != Some(true)
}

impl ScopePayload {
    /// The scope that it stands for.
    ///
    /// # Errors
    /// When it is one of the shapes that seed 003 rejects, with the seed's sentence.
    pub fn scope(&self) -> Result<Scope, ScopeError> {
        let exec = self.kubernetes_exec.as_ref().map(|exec| KubernetesExec {
            namespace_ids: exec.namespace_ids.clone(),
            namespaces: exec.namespaces.clone(),
            all_namespaces: exec.all_namespaces.filter(|all| *all),
            role: exec.role,
        });
        let scope = Scope {
            all: self.all.filter(|all| *all),
            inference: self.inference.filter(|inference| *inference),
            ssh_keys: self.ssh_keys.filter(|ssh_keys| *ssh_keys),
            kubernetes_exec: exec,
        };
        check_shape(&scope)?;
        Ok(scope)
    }
}

impl From<&Scope> for ScopePayload {
    fn from(scope: &Scope) -> Self {
        Self {
            all: scope.all,
            inference: scope.inference,
            ssh_keys: scope.ssh_keys,
            kubernetes_exec: scope.kubernetes_exec.as_ref().map(|exec| KubernetesExecPayload {
                namespace_ids: exec.namespace_ids.clone(),
                namespaces: exec.namespaces.clone(),
                all_namespaces: exec.all_namespaces,
                role: exec.role,
            }),
        }
    }
}
