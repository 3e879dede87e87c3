//! Whether kubectl may do the first thing that everybody does: get pods in the context's namespace.

use serde::Deserialize;
use serde_json::json;

use crate::doctor::finding::Finding;
use crate::doctor::shell::quoted;

/// The check's name.
pub const CHECK: &str = "access";
/// Where the API server is asked what a token may do.
pub const PATH: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// A question to the API server, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessSeen {
    /// The namespace that was asked for.
    pub namespace: String,
    /// Whether the context names it.
    pub is_contexts: bool,
    /// Whether pods may be got there.
    pub allowed: bool,
    /// The namespaces that the key reaches, by their names for kubectl, when that is known.
    pub reached: Option<Vec<String>>,
    /// The context.
    pub context: String,
    /// kubectl, with the kubeconfig that is examined.
    pub kubectl: String,
}

/// The namespace to ask for: the context's, else the first that the key reaches, else kubectl's own default.
#[must_use]
pub fn namespace(context: Option<&str>, reached: Option<&[String]>) -> String {
    let first = || reached.and_then(<[_]>::first).map(String::as_str);
    context.or_else(first).unwrap_or("default").to_owned()
}

/// The request: a `SelfSubjectAccessReview`.
#[must_use]
pub fn question(namespace: &str) -> String {
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": namespace, "verb": "get", "resource": "pods"}},
    })
    .to_string()
}

#[derive(Deserialize)]
struct Review {
    kind: String,
    status: ReviewStatus,
}

#[derive(Deserialize)]
struct ReviewStatus {
    #[serde(default)]
    allowed: bool,
}

/// The answer to [`question`], when it is one.
#[must_use]
pub fn answer(body: &[u8]) -> Option<bool> {
    let review: Review = serde_json::from_slice(body).ok()?;
    (review.kind == "SelfSubjectAccessReview").then_some(review.status.allowed)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    api_version: String,
    kind: String,
}

/// Whether the body is an object of Kubernetes: a review, or a `Status` that says why there is none.
#[must_use]
pub fn is_kubernetes(body: &[u8]) -> bool {
    let status = serde_json::from_slice::<Object>(body)
        .is_ok_and(|object| object.kind == "Status" && object.api_version == "v1");
    status || answer(body).is_some()
}

/// What the answer means for who uses kubectl.
#[must_use]
pub fn judge(seen: &AccessSeen) -> Finding {
    let AccessSeen { namespace, kubectl, context, .. } = seen;
    if seen.allowed {
        let why = if seen.is_contexts { "" } else { " (the context names no namespace)" };
        return Finding::ok(CHECK, format!("get pods in namespace {namespace} is allowed{why}"));
    }
    let found = format!("get pods in namespace {namespace} is forbidden");
    match seen.reached.as_deref() {
        Some([]) => Finding::problem(
            CHECK,
            format!("{found}: the key reaches no namespace now"),
            "its owner sees why in the condition Ready: kubectl describe apikeys",
        ),
        Some(reached) if reached.contains(namespace) => Finding::problem(
            CHECK,
            format!("{found}, though the key reaches it"),
            "its owner sees in the condition Ready whether its role is set up: kubectl describe apikeys",
        ),
        Some(reached @ [first, ..]) => Finding::problem(
            CHECK,
            format!("{found}: the key reaches {}", reached.join(", ")),
            format!("{kubectl} config set-context {} --namespace={}", quoted(context), quoted(first)),
        ),
        None => Finding::problem(
            CHECK,
            found,
            format!("{kubectl} config set-context {} --namespace=NAMESPACE", quoted(context)),
        ),
    }
}
