//! The permissions that Keyplane ships, read from the manifests that the demo, the tests and the chart apply.

mod document;
mod grant;
mod omission;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::rbac::v1::{
    AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use document::document;
pub use grant::{Grant, RuleKey, rights};
pub use omission::Omission;

/// Says in a manifest why a role or a policy is as it is; the documentation is made from it.
pub const WHY: &str = "keyplane.dev/why";
/// Lists in a manifest what a role leaves out of the role of Kubernetes' that it resembles.
pub const OMITTED: &str = "keyplane.dev/omitted";
/// The roles that Keyplane's controller gives to keys.
pub const KEY_ROLES: [&str; 3] = ["keyplane:view", "keyplane:edit", "keyplane:admin"];
/// The role that Keyplane's controller gives to an account's owners.
pub const OWNER_ROLE: &str = "keyplane:account-owner";
/// The role that Keyplane's controller gives to itself where it delivers keys.
pub const DELIVERY_ROLE: &str = "keyplane:delivery";

/// Every role that Keyplane's controller gives at run time: what it has `bind` for.
pub fn bindable_roles() -> impl Iterator<Item = &'static str> {
    KEY_ROLES.into_iter().chain([OWNER_ROLE, DELIVERY_ROLE])
}

/// A role that the manifests hold.
#[derive(Debug, Clone)]
pub struct ShippedRole {
    /// Its name.
    pub name: String,
    /// Its namespace; none for a `ClusterRole`.
    pub namespace: Option<String>,
    /// Why it is as it is.
    pub why: String,
    /// What it leaves out of Kubernetes' own role.
    pub omitted: Vec<Omission>,
    /// Its rules, before aggregation.
    pub rules: Vec<PolicyRule>,
    /// Whose rules it takes over; none for a role of its own rules.
    pub aggregates: Option<AggregationRule>,
    labels: BTreeMap<String, String>,
}

/// A role given to a subject.
#[derive(Debug, Clone)]
pub struct ShippedBinding {
    /// To whom, as `ServiceAccount namespace/name`, `User name` or `Group name`.
    pub subject: String,
    /// In which namespace; none for everywhere.
    pub namespace: Option<String>,
    /// The role's name.
    pub role: String,
    /// Whether the role is a `ClusterRole`.
    pub cluster_role: bool,
}

/// An admission policy that the manifests hold.
#[derive(Debug, Clone)]
pub struct ShippedPolicy {
    /// Its name.
    pub name: String,
    /// Why it is there.
    pub why: String,
    /// What it says when it refuses, in the order of its rules.
    pub refusals: Vec<String>,
}

/// All that the manifests say about who may do what.
#[derive(Debug, Clone, Default)]
pub struct Shipped {
    /// The roles, in the manifests' order.
    pub roles: Vec<ShippedRole>,
    /// Who has them.
    pub bindings: Vec<ShippedBinding>,
    /// The admission policies.
    pub policies: Vec<ShippedPolicy>,
}

/// The folder of the manifests.
#[must_use]
pub fn folder() -> PathBuf {
    crate::workspace::root().join("charts/keyplane/files")
}

impl Shipped {
    /// Reads the manifests.
    ///
    /// # Errors
    /// When one cannot be read, holds a kind that this module does not know, or a role without its reason.
    pub fn read() -> Result<Self> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
            .with_context(|| format!("cannot list {}", folder().display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        let mut shipped = Self::default();
        for file in files {
            let yaml = std::fs::read_to_string(&file)?;
            shipped.add(&yaml).with_context(|| format!("in {}", file.display()))?;
        }
        Ok(shipped)
    }

    /// Adds the objects of a manifest.
    ///
    /// # Errors
    /// As [`Shipped::read`].
    pub fn add(&mut self, yaml: &str) -> Result<()> {
        for object in serde_saphyr::from_multiple::<Value>(yaml)? {
            match object.get("kind").and_then(Value::as_str).unwrap_or_default() {
                "ClusterRole" => {
                    let role: ClusterRole = typed(object)?;
                    self.add_role(role.metadata, role.rules, role.aggregation_rule)?;
                }
                "Role" => {
                    let role: Role = typed(object)?;
                    self.add_role(role.metadata, role.rules, None)?;
                }
                "ClusterRoleBinding" => {
                    let binding: ClusterRoleBinding = typed(object)?;
                    self.add_binding(None, &binding.role_ref, binding.subjects);
                }
                "RoleBinding" => {
                    let binding: RoleBinding = typed(object)?;
                    self.add_binding(
                        binding.metadata.namespace.as_deref(),
                        &binding.role_ref,
                        binding.subjects,
                    );
                }
                "ValidatingAdmissionPolicy" => self.add_policy(typed(object)?)?,
                "Namespace" | "ResourceQuota" | "ServiceAccount" | "ValidatingAdmissionPolicyBinding" => {}
                other => bail!("tests/src/permissions.rs does not know what a {other} permits: teach it"),
            }
        }
        Ok(())
    }

    fn add_role(
        &mut self,
        metadata: ObjectMeta,
        rules: Option<Vec<PolicyRule>>,
        aggregates: Option<AggregationRule>,
    ) -> Result<()> {
        let name = metadata.name.clone().unwrap_or_default();
        let omitted = annotation(&metadata, OMITTED).unwrap_or_default();
        self.roles.push(ShippedRole {
            why: why(&metadata)?,
            omitted: omitted
                .lines()
                .map(str::parse)
                .collect::<Result<_>>()
                .with_context(|| format!("in the annotation {OMITTED} of {name}"))?,
            namespace: metadata.namespace,
            rules: rules.unwrap_or_default(),
            aggregates,
            labels: metadata.labels.unwrap_or_default(),
            name,
        });
        Ok(())
    }

    fn add_binding(
        &mut self,
        namespace: Option<&str>,
        role: &k8s_openapi::api::rbac::v1::RoleRef,
        subjects: Option<Vec<k8s_openapi::api::rbac::v1::Subject>>,
    ) {
        for subject in subjects.unwrap_or_default() {
            let place = subject.namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default();
            self.bindings.push(ShippedBinding {
                subject: format!("{} {place}{}", subject.kind, subject.name),
                namespace: namespace.map(ToOwned::to_owned),
                role: role.name.clone(),
                cluster_role: role.kind == "ClusterRole",
            });
        }
    }

    fn add_policy(&mut self, policy: ValidatingAdmissionPolicy) -> Result<()> {
        let validations = policy.spec.and_then(|spec| spec.validations).unwrap_or_default();
        self.policies.push(ShippedPolicy {
            why: why(&policy.metadata)?,
            name: policy.metadata.name.unwrap_or_default(),
            refusals: validations.into_iter().filter_map(|rule| rule.message).collect(),
        });
        Ok(())
    }

    /// The role of this name and place.
    ///
    /// # Errors
    /// When the manifests hold none.
    pub fn role(&self, namespace: Option<&str>, name: &str) -> Result<&ShippedRole> {
        self.roles
            .iter()
            .find(|role| role.name == name && role.namespace.as_deref() == namespace)
            .with_context(|| format!("the manifests bind {name} but do not hold it"))
    }

    /// The rules of a role after aggregation, as the API server's controller manager makes them.
    #[must_use]
    pub fn rules_of(&self, role: &ShippedRole) -> Vec<PolicyRule> {
        let Some(aggregates) = &role.aggregates else {
            return role.rules.clone();
        };
        let selectors = aggregates.cluster_role_selectors.clone().unwrap_or_default();
        let selected = |candidate: &ShippedRole| {
            selectors.iter().any(|selector| {
                let wanted = selector.match_labels.clone().unwrap_or_default();
                !wanted.is_empty()
                    && wanted.iter().all(|(label, value)| candidate.labels.get(label) == Some(value))
            })
        };
        self.roles
            .iter()
            .filter(|candidate| candidate.name != role.name && selected(candidate))
            .flat_map(|candidate| self.rules_of(candidate))
            .collect()
    }

    /// Every right that somebody has by these manifests: those of the bound roles, and those of the roles that
    /// the controller binds at run time, whose subject is then the role itself.
    ///
    /// # Errors
    /// When a binding refers to a role that is not shipped: its rights would be unknown.
    pub fn grants(&self) -> Result<Vec<Grant>> {
        let mut grants = Vec::new();
        for binding in &self.bindings {
            let place = (!binding.cluster_role).then_some(binding.namespace.as_deref()).flatten();
            let rules = self.rules_of(self.role(place, &binding.role)?);
            let place = binding.namespace.as_deref().unwrap_or("everywhere");
            grants.extend(Grant::of_rules(&binding.subject, place, &rules));
        }
        for name in bindable_roles() {
            let rules = self.rules_of(self.role(None, name)?);
            grants.extend(Grant::of_rules(&format!("role {name}"), "where bound", &rules));
        }
        grants.sort();
        grants.dedup();
        Ok(grants)
    }
}

fn typed<T: DeserializeOwned>(object: Value) -> Result<T> {
    Ok(serde_json::from_value(object)?)
}

fn annotation(metadata: &ObjectMeta, name: &str) -> Option<String> {
    metadata.annotations.as_ref()?.get(name).cloned()
}

fn why(metadata: &ObjectMeta) -> Result<String> {
    annotation(metadata, WHY).with_context(|| {
        let name = metadata.name.as_deref().unwrap_or_default();
        format!("{name} does not say why: give it the annotation {WHY}")
    })
}
