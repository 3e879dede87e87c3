//! Waiting for a condition, with a reason when it never comes.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What one look at the condition showed.
#[derive(Debug)]
pub enum Seen<T> {
    /// The condition holds.
    Done(T),
    /// It does not hold yet; the text says what was seen instead and ends up in the error.
    NotYet(String),
}

/// How long the harness waits for anything on a loaded two-core machine before it calls it broken.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Looks again and again until the condition holds.
///
/// # Errors
/// When `limit` has passed (naming `what` and what was seen last), or at once when a look itself fails:
/// an `Err` means that waiting longer is pointless.
pub async fn until<T, F, Fut>(what: &str, limit: Duration, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Seen<T>>>,
{
    let started = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        let last = match look().await? {
            Seen::Done(value) => return Ok(value),
            Seen::NotYet(last) => last,
        };
        if started.elapsed() > limit {
            bail!("waited {} s for {what}; seen last: {last}", limit.as_secs());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
