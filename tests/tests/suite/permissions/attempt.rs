//! Attempts by one identity or another, and what the API server makes of them.

use anyhow::{Result, bail};
use http::Method;
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use serde_json::{Value, json};

use crate::request::{Answer, DRY_RUN, STRICT, send};

/// The controller's user.
pub const CONTROLLER: &str = "system:serviceaccount:keyplane-system:keyplane-controller";
/// The API's user.
pub const API: &str = "system:serviceaccount:keyplane-system:keyplane-api";
/// Stands for a cluster administrator, of the group that may do anything.
pub const ADMINISTRATOR: &str = "";

/// What must become of an attempt.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    /// It is accepted.
    Accepted,
    /// It is accepted, or there is nothing to delete any more.
    AcceptedOrGone,
    /// RBAC lets it pass and an admission policy refuses it with a sentence that holds this.
    Refused(&'static str),
    /// RBAC does not let it pass.
    Forbidden,
}

/// A change that somebody wants.
#[derive(Debug, Clone)]
pub struct Attempt {
    method: Method,
    path: String,
    body: Value,
}

impl Attempt {
    /// To create an object; its path is derived from it.
    pub fn create(object: Value) -> Self {
        Self { method: Method::POST, path: collection(&object), body: object }
    }

    /// To change something of an object.
    pub fn merge(path: impl Into<String>, change: Value) -> Self {
        Self { method: Method::PATCH, path: path.into(), body: change }
    }

    /// To delete an object.
    pub fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, path: path.into(), body: json!({}) }
    }

    /// To delete an object, or those of a collection, with this propagation policy.
    pub fn delete_by(path: impl Into<String>, propagation: &str) -> Self {
        Self { method: Method::DELETE, path: path.into(), body: json!({"propagationPolicy": propagation}) }
    }

    /// To create what has a path of its own, such as a token.
    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, path: path.into(), body }
    }

    async fn made(&self, cluster: &ControlPlane, user: &str, query: &str) -> Result<Answer> {
        let client = match user {
            ADMINISTRATOR => cluster.client().await?,
            user => cluster.access().client_as(user).await?,
        };
        let mut body = self.body.clone();
        // With a body, the API server takes a deletion's options from there alone.
        if let Some(options) = body.as_object_mut()
            && self.method == Method::DELETE
            && query == DRY_RUN
        {
            options.insert("dryRun".to_owned(), json!(["All"]));
        }
        send(&client, self.method.clone(), &self.path, query, &body).await
    }

    /// Makes the change.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn done(&self, cluster: &ControlPlane, user: &str) -> Result<Value> {
        match self.made(cluster, user, STRICT).await? {
            Ok(object) => Ok(object),
            Err(status) => bail!("{} {} by `{user}`: {}", self.method, self.path, status.message),
        }
    }

    /// Tries it without storing anything. Waits for what must become of it: roles and policies take effect in the API
    /// server's own time, a moment after they were stored.
    ///
    /// # Errors
    /// When something else becomes of it, with what it was.
    pub async fn comes_to(&self, cluster: &ControlPlane, user: &str, outcome: Outcome) -> Result<()> {
        let what = format!("{} {} by `{user}` to be {outcome:?}: {}", self.method, self.path, self.body);
        until(&what, PATIENCE, || self.once(cluster, user, outcome)).await
    }

    /// Tries it once, without storing anything.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn once(&self, cluster: &ControlPlane, user: &str, outcome: Outcome) -> Result<Seen<()>> {
        let answer = self.made(cluster, user, DRY_RUN).await?;
        Ok(match (&answer, outcome) {
            (Ok(_), Outcome::Accepted | Outcome::AcceptedOrGone) => Seen::Done(()),
            (Err(status), Outcome::AcceptedOrGone) if status.code == 404 => Seen::Done(()),
            (Err(status), Outcome::Refused(sentence)) if refusal(&status.message).contains(sentence) => {
                Seen::Done(())
            }
            (Err(status), Outcome::Forbidden)
                if status.code == 403 && refusal(&status.message).is_empty() =>
            {
                Seen::Done(())
            }
            (Ok(_), _) => Seen::NotYet("accepted".to_owned()),
            (Err(status), _) => Seen::NotYet(status.message.clone()),
        })
    }
}

/// What an admission policy of ours said; empty when something else refused.
fn refusal(message: &str) -> &str {
    let ours = message.contains("ValidatingAdmissionPolicy 'keyplane-");
    message.split_once("denied request: ").filter(|_| ours).map_or("", |(_, sentence)| sentence)
}

/// The path to which an object is posted.
fn collection(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let root = match text("/apiVersion") {
        "v1" => "/api/v1".to_owned(),
        version => format!("/apis/{version}"),
    };
    let place = match text("/metadata/namespace") {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    let plural = match text("/kind") {
        "NetworkPolicy" => "networkpolicies".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    format!("{root}{place}/{plural}")
}

/// A core Namespace; with an account, labelled as Keyplane's controller labels it.
pub fn namespace(name: &str, account: Option<&str>) -> Value {
    let labels = account.map_or_else(|| json!({}), |account| json!({"keyplane.dev/account": account}));
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// A RoleBinding of a `ClusterRole`.
pub fn role_binding(namespace: &str, name: &str, role: &str, subject: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"namespace": namespace, "name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    })
}

/// A ServiceAccount as the subject of a RoleBinding.
pub fn service_account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
}

/// A User or Group as the subject of a RoleBinding.
pub fn person(kind: &str, name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name})
}

/// The core Namespaces of an account, as if Keyplane had made them, and one that is nobody's.
#[derive(Debug)]
pub struct Stage {
    /// The cluster.
    pub cluster: &'static ControlPlane,
    /// The home namespace.
    pub home: String,
    /// A workload namespace.
    pub web: String,
    /// A namespace that is no account's.
    pub plain: String,
}

impl Stage {
    /// Makes them, under a name that only this test uses.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn set(name: &str) -> Result<Self> {
        let (cluster, _) = keyplane_tests::shared::shared_installation().await?;
        let home = format!("{name}-{}", std::process::id());
        let stage = Self { cluster, web: format!("{home}-web"), plain: format!("not-{home}"), home };
        let all = [(&stage.home, true), (&stage.web, true), (&stage.plain, false)];
        for (name, of_account) in all {
            let account = of_account.then_some(stage.home.as_str());
            Attempt::create(namespace(name, account)).done(cluster, ADMINISTRATOR).await?;
        }
        Ok(stage)
    }

    /// Deletes them.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn clear(self) -> Result<()> {
        for name in [&self.web, &self.home, &self.plain] {
            Attempt::delete(format!("/api/v1/namespaces/{name}")).done(self.cluster, ADMINISTRATOR).await?;
        }
        Ok(())
    }

    /// Asserts what becomes of each attempt.
    ///
    /// # Errors
    /// When something else becomes of one.
    pub async fn each(&self, user: &str, rows: Vec<(Attempt, Outcome)>) -> Result<()> {
        for (attempt, outcome) in rows {
            attempt.comes_to(self.cluster, user, outcome).await?;
        }
        Ok(())
    }
}
