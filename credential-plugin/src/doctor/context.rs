//! The kubeconfig's current context.

use crate::doctor::finding::Finding;
use crate::doctor::shell::kubectl;
use crate::failure::Failure;
use crate::kubeconfig::current::{ContextArgs, CurrentContext};
use crate::kubectl::has_no_context;

/// The check's name.
pub const CHECK: &str = "context";
/// What makes a context.
const MAKE: &str = "kubectl-keyplane kubeconfig --merge --server URL";

/// The context, or why there is none; `context` is what kubectl says of it, none when that took too long.
#[must_use]
pub fn judge(context: Option<&Result<CurrentContext, Failure>>, args: &ContextArgs) -> Finding {
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
            let [what, _, mut remedy] = failure.parts();
            if has_no_context(failure) && args.kubeconfig.is_none() && !remedy.contains(MAKE) {
                remedy = format!("{remedy}; or make one with: {MAKE}");
            }
            Finding::problem(CHECK, format!("kubectl has no context to work with: {what}"), remedy)
        }
        None => Finding::problem(
            CHECK,
            "kubectl does not say in time what the kubeconfig holds",
            format!("see what it waits for: {} config view", kubectl(args)),
        ),
    }
}
