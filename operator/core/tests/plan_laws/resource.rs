//! What the four kinds of Keyplane's resources have in common, for the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyplane_core::plan::Plan;
use keyplane_core::readiness::{Readiness, Status};
use keyplane_crds::{
    Account, AccountStatus, ApiKey, ApiKeyState, ApiKeyStatus, Namespace, NamespaceStatus, SshKey,
    SshKeyStatus,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::Cluster;
use crate::observe;

/// Where a resource stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub home: Option<String>,
    pub name: String,
}

impl Place {
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self { home: metadata.namespace.clone(), name: metadata.name.clone().unwrap_or_default() }
    }

    pub fn cluster(name: &str) -> Self {
        Self { home: None, name: name.to_owned() }
    }

    pub fn within(home: &str, name: &str) -> Self {
        Self { home: Some(home.to_owned()), name: name.to_owned() }
    }

    pub fn metadata(&self) -> ObjectMeta {
        ObjectMeta { name: Some(self.name.clone()), namespace: self.home.clone(), ..ObjectMeta::default() }
    }
}

/// One of Keyplane's resources.
pub trait Resource: Clone + PartialEq + std::fmt::Debug {
    type Status: Status + Serialize + DeserializeOwned + std::fmt::Debug;

    fn metadata(&self) -> &ObjectMeta;
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
    fn status(&self) -> Option<&Self::Status>;
    fn set_status(&mut self, status: Self::Status);
    fn table(cluster: &Cluster) -> &BTreeMap<Place, Self>;
    fn table_mut(cluster: &mut Cluster) -> &mut BTreeMap<Place, Self>;
    /// Observe and plan, as the reconciler of the kind does.
    fn plan(cluster: &Cluster, resource: &Arc<Self>, now: DateTime<Utc>) -> Plan<Self::Status>;

    /// The status when the API server refuses something that the plan needs, as the reconciler writes it.
    fn refused_status(&self, readiness: &Readiness, now: DateTime<Utc>) -> Self::Status {
        let stored = self.status().cloned().unwrap_or_default();
        let previous = stored.conditions().to_vec();
        Self::with_pending(stored).saying(readiness, &previous, self.metadata().generation, now)
    }

    fn with_pending(status: Self::Status) -> Self::Status {
        status
    }
}

macro_rules! resource {
    ($kind:ident, $status:ident, $table:ident, $observe:ident $(, $pending:item)?) => {
        impl Resource for $kind {
            type Status = $status;

            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }

            fn status(&self) -> Option<&$status> {
                self.status.as_ref()
            }

            fn set_status(&mut self, status: $status) {
                self.status = Some(status);
            }

            fn table(cluster: &Cluster) -> &BTreeMap<Place, Self> {
                &cluster.$table
            }

            fn table_mut(cluster: &mut Cluster) -> &mut BTreeMap<Place, Self> {
                &mut cluster.$table
            }

            fn plan(cluster: &Cluster, resource: &Arc<Self>, now: DateTime<Utc>) -> Plan<$status> {
                observe::$observe(cluster, resource, now)
            }

            $($pending)?
        }
    };
}

resource!(Account, AccountStatus, accounts, plan_account);
resource!(Namespace, NamespaceStatus, namespaces, plan_namespace);
resource!(SshKey, SshKeyStatus, ssh_keys, plan_ssh_key);
resource!(
    ApiKey,
    ApiKeyStatus,
    api_keys,
    plan_api_key,
    fn with_pending(status: ApiKeyStatus) -> ApiKeyStatus {
        ApiKeyStatus { state: Some(ApiKeyState::Pending), ..status }
    }
);
