//! Waiting for what the controller says of a resource that was just made: whether it stands, or is beyond a limit or a
//! duplicate.

use std::time::Duration;

use kube::ResourceExt;
use tokio::time::Instant;

use super::failure::ApiFailure;
use super::home::{Declared, Home};

/// How long the controller is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// After how long is looked for the first time, and how long the pauses become: many who wait at once must not keep the API
/// server from the controller that they wait for.
const FIRST_LOOK: Duration = Duration::from_millis(40);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// How long after something was made its place is certain. Creation times have whole seconds, and of what is made in one
/// second any may come first; besides, the controller needs a moment to see it all. By this process's own clock only the
/// length counts: the clocks of two machines need not agree.
const CERTAIN_AFTER: Duration = Duration::from_millis(1300);

/// What became of a resource that was made.
#[derive(Clone, Debug)]
pub(crate) enum Awaited<K> {
    /// The controller has said what it says.
    Decided(K),
    /// It has not said anything in time; the resource stands.
    Undecided(K),
}

impl Home {
    /// Waits until `is_decided` is so of a resource, and its place among those made in the same second is certain.
    ///
    /// # Errors
    /// `NotFound` when it is gone, or the API server does not say.
    pub(crate) async fn verdict_on<K: Declared>(
        &self,
        made: &K,
        is_decided: impl Fn(&K) -> bool,
    ) -> Result<Awaited<K>, ApiFailure> {
        self.awaited(made, is_decided, CERTAIN_AFTER, PATIENCE).await
    }

    /// [`Home::verdict_on`] with a patience of one's own.
    ///
    /// # Errors
    /// As [`Home::verdict_on`].
    pub(crate) async fn verdict_within<K: Declared>(
        &self,
        patience: Duration,
        made: &K,
        is_decided: impl Fn(&K) -> bool,
    ) -> Result<Awaited<K>, ApiFailure> {
        self.awaited(made, is_decided, CERTAIN_AFTER, patience).await
    }

    /// Waits until `is_decided` is so of a resource, whose place is certain already or does not matter.
    ///
    /// # Errors
    /// As [`Home::verdict_on`].
    pub(crate) async fn decided_within<K: Declared>(
        &self,
        patience: Duration,
        standing: &K,
        is_decided: impl Fn(&K) -> bool,
    ) -> Result<Awaited<K>, ApiFailure> {
        self.awaited(standing, is_decided, Duration::ZERO, patience).await
    }

    async fn awaited<K: Declared>(
        &self,
        object: &K,
        is_decided: impl Fn(&K) -> bool,
        certain_after: Duration,
        patience: Duration,
    ) -> Result<Awaited<K>, ApiFailure> {
        let begun = Instant::now();
        let (certain, end) = (begun + certain_after, begun + patience);
        let mut pause = FIRST_LOOK;
        let mut seen = object.clone();
        loop {
            let now = Instant::now();
            match is_decided(&seen) {
                true if now >= certain => return Ok(Awaited::Decided(seen)),
                false if now >= end => return Ok(Awaited::Undecided(seen)),
                // What is decided is looked at once more when it is certain, not before.
                true => tokio::time::sleep_until(certain).await,
                false => tokio::time::sleep(pause).await,
            }
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            let found = self.named::<K>(&seen.name_any()).await?;
            seen = found.filter(|found| found.meta().uid == object.meta().uid).ok_or(ApiFailure::NotFound)?;
        }
    }
}
