//! What is begun is brought to its end, whether its client waits for it or not.

use super::problem::{Problem, failed};

/// Does something that a client who goes away must not leave half done, in a task of its own.
///
/// # Errors
/// As the work, or that it failed.
pub(crate) async fn to_its_end<T: Send + 'static, E: From<Problem> + Send + 'static>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E> {
    tokio::spawn(work).await.unwrap_or_else(|_| Err(failed().into()))
}
