//! Names that many clients give to the same keys: which of them may stand after one of them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

/// When each name was asked for, and when that was answered. Every name is given once.
#[derive(Default)]
pub(super) struct Names(Mutex<HashMap<String, (Instant, Option<Instant>)>>);

impl Names {
    pub(super) fn asked(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), (Instant::now(), None));
    }

    pub(super) fn answered(&self, name: &str) {
        if let Some(asked) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name) {
            asked.1 = Some(Instant::now());
        }
    }

    /// Whether `shown` may stand after `given` was answered: it is that, or one whose writer had no answer yet when
    /// `given` was asked for.
    pub(super) fn ensure_after(&self, given: &str, shown: &str) -> Result<()> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, _) = names.get(given).context("a name that was given")?;
        let (_, answered) = names.get(shown).with_context(|| format!("nobody gave the name {shown}"))?;
        ensure!(
            shown == given || answered.is_none_or(|at| at > *asked),
            "{shown} stands, and {given} was given later"
        );
        Ok(())
    }
}
