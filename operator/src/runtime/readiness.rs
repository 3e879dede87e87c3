//! Whether the process is ready: each of its parts runs, everything it watches has been listed, and none of it is stale.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::index::{Freshness, Seen};

/// How far a part of the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is not yet able to do its work.
    Starting,
    /// Another process does its work, and this one is able to take over. It watches nothing yet.
    Standby,
    /// It does its work.
    Running,
}

/// What is known of the process's readiness. Clones tell the same.
#[derive(Clone, Debug)]
pub(super) struct Readiness {
    parts: Arc<Mutex<Vec<(&'static str, Phase)>>>,
    freshness: Freshness,
}

impl Readiness {
    /// Every part is starting.
    pub(super) fn starting(parts: &[&'static str], freshness: &Freshness) -> Self {
        let parts = parts.iter().map(|part| (*part, Phase::Starting)).collect();
        Self { parts: Arc::new(Mutex::new(parts)), freshness: freshness.clone() }
    }

    /// So far a part is now.
    pub(super) fn reached(&self, part: &str, phase: Phase) {
        for (name, reached) in self.parts().iter_mut() {
            if *name == part {
                *reached = phase;
            }
        }
    }

    /// `Ok` with what is said when the process is ready, else what it lacks.
    pub(super) fn verdict(&self, now: Instant) -> Result<&'static str, String> {
        verdict(&self.parts().clone(), &self.freshness.look(now))
    }

    /// Each store, a line each.
    pub(super) fn stores(&self, now: Instant) -> String {
        let mut text = String::new();
        for Seen { part, kind, is_listed, age, objects } in self.freshness.look(now) {
            let state = if is_listed { "listed" } else { "not listed yet" };
            let age = age.as_secs_f64();
            let _ = writeln!(text, "{part} {kind}: {state}, {objects} objects, heard of {age:.1} s ago");
        }
        text
    }

    fn parts(&self) -> MutexGuard<'_, Vec<(&'static str, Phase)>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn verdict(parts: &[(&'static str, Phase)], stores: &[Seen]) -> Result<&'static str, String> {
    let unlisted: Vec<&str> = kinds(stores, |store| !store.is_listed);
    if !unlisted.is_empty() {
        return Err(format!("not listed yet: {}", unlisted.join(", ")));
    }
    let starting = parts.iter().filter(|(_, phase)| *phase == Phase::Starting);
    let starting: Vec<&str> = starting.map(|(name, _)| *name).collect();
    if !starting.is_empty() {
        return Err(format!("waiting for {}", starting.join(", ")));
    }
    let stale: Vec<String> = stores
        .iter()
        .filter(|store| store.is_stale())
        .map(|store| format!("{} not heard of for {} s", store.kind, store.age.as_secs()))
        .collect();
    if !stale.is_empty() {
        return Err(format!("stale: {}", stale.join(", ")));
    }
    let is_standby = parts.iter().any(|(_, phase)| *phase == Phase::Standby);
    Ok(if is_standby { "ok (standby: waiting for the lease)" } else { "ok" })
}

fn kinds(stores: &[Seen], which: impl Fn(&Seen) -> bool) -> Vec<&str> {
    let mut kinds: Vec<&str> =
        stores.iter().filter(|store| which(store)).map(|store| store.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::index::STALE_AFTER;

    fn store(kind: &str, is_listed: bool, age: u64) -> Seen {
        Seen { part: "api", kind: kind.to_owned(), is_listed, age: Duration::from_secs(age), objects: 1 }
    }

    #[test]
    fn a_process_is_ready_when_its_parts_run_and_its_stores_are_listed_and_fresh() {
        use Phase::{Running, Standby, Starting};
        let limit = STALE_AFTER.as_secs();
        for (phase, stores, expected) in [
            (Starting, vec![], Err("waiting for api")),
            (Starting, vec![store("core/Secret", false, 1)], Err("not listed yet: core/Secret")),
            (Starting, vec![store("core/Secret", true, 1)], Err("waiting for api")),
            (Standby, vec![], Ok("ok (standby: waiting for the lease)")),
            (Running, vec![store("core/Secret", true, limit)], Ok("ok")),
            (
                Running,
                vec![store("a/B", true, 83), store("c/D", true, 1), store("e/F", true, 84)],
                Err("stale: a/B not heard of for 83 s, e/F not heard of for 84 s"),
            ),
            (
                Running,
                vec![store("a/B", false, 1), store("c/D", true, 83), store("e/F", false, 1)],
                Err("not listed yet: a/B, e/F"),
            ),
        ] {
            let found = verdict(&[("api", phase)], &stores);
            assert_eq!(found, expected.map_err(ToOwned::to_owned), "{phase:?} {stores:?}");
        }
    }

    #[test]
    fn a_standby_beside_a_part_that_starts_is_not_ready() {
        let parts = [("controller", Phase::Standby), ("api", Phase::Starting)];
        assert_eq!(verdict(&parts, &[]), Err("waiting for api".to_owned()));
    }
}
