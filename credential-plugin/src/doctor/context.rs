//! The kubeconfig's current context.

use crate::doctor::finding::Finding;
use crate::doctor::shell::kubectl;
use crate::failure::Failure;
use crate::kubeconfig::current::{ContextArgs, CurrentContext};

/// The check's name.
pub const CHECK: &str = "context";

/// The context, or why there is none; `context` is what kubectl says of it, none when that took too long.
#[must_use]
pub fn judge(context: Option<&Result<CurrentContext, Failure>>, args: &ContextArgs) -> Finding {
    let remedy = || {
        let kubectl = kubectl(args);
        format!(
            "choose one of {kubectl} config get-contexts with: {kubectl} config use-context NAME; or make one with: \
             kubectl keyplane kubeconfig --merge --server URL"
        )
    };
    match context {
        Some(Ok(context)) => {
            let namespace = context.namespace.as_deref().unwrap_or("default");
            let (name, cluster) = (&context.name, &context.cluster);
            Finding::ok(
                CHECK,
                format!(
                    "{name}: cluster {} at {}, namespace {namespace}, user {}",
                    cluster.name, cluster.server, context.user
                ),
            )
        }
        Some(Err(failure)) => {
            let [what, ..] = failure.parts();
            Finding::problem(CHECK, format!("kubectl has no context to work with: {what}"), remedy())
        }
        None => Finding::problem(CHECK, "kubectl does not say in time what the kubeconfig holds", remedy()),
    }
}
