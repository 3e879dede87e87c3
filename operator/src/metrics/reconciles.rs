//! What the reconcilers do.

use std::sync::Arc;
use std::time::Duration;

use keyplane_core::readiness::ResourceKind;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::histogram::Histograms;
use super::shared::Shared;

/// From a look that finds nothing to do to the time limit of an attempt.
const SECONDS: [f64; 9] = [0.0005, 0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

const KINDS: [ResourceKind; 4] =
    [ResourceKind::Account, ResourceKind::Namespace, ResourceKind::ApiKey, ResourceKind::SshKey];

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptResult {
    /// As planned.
    Done,
    /// The cluster changed under the plan.
    Stale,
    /// The API server refused something.
    Refused,
    /// A key that was made could not be handed over.
    Undeliverable,
    /// The audit log could not be written.
    Unrecorded,
    /// The API server could not be asked.
    Unreachable,
    /// It took too long.
    TimedOut,
}

impl AttemptResult {
    const ALL: [Self; 7] = [
        Self::Done,
        Self::Stale,
        Self::Refused,
        Self::Undeliverable,
        Self::Unrecorded,
        Self::Unreachable,
        Self::TimedOut,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Stale => "stale",
            Self::Refused => "refused",
            Self::Undeliverable => "undeliverable",
            Self::Unrecorded => "unrecorded",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
        }
    }
}

/// Attempts of the reconcilers.
#[derive(Clone, Debug)]
pub(crate) struct ReconcileMetrics {
    attempts: Family<[(&'static str, &'static str); 2], Counter>,
    durations: Arc<Histograms>,
    failing: Family<[(&'static str, &'static str); 1], Gauge>,
}

/// Attempts for resources of one kind.
#[derive(Clone, Debug)]
pub(crate) struct KindMetrics {
    index: usize,
    attempts: [Counter; AttemptResult::ALL.len()],
    durations: Arc<Histograms>,
    failing: Gauge,
}

impl ReconcileMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self {
            attempts: Family::default(),
            durations: Arc::new(Histograms::new("kind", KINDS.map(ResourceKind::as_str), &SECONDS)),
            failing: Family::default(),
        };
        registry.register(
            "reconciles",
            "Attempts to make what a resource declares so, by how they ended",
            metrics.attempts.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "How long an attempt took",
            Unit::Seconds,
            Shared(metrics.durations.clone()),
        );
        registry.register(
            "resources_failing",
            "Resources whose last attempts failed and are being repeated",
            metrics.failing.clone(),
        );
        // Each series is there from the start: a first failure is a change from zero.
        for kind in KINDS {
            metrics.of(kind);
        }
        metrics
    }

    /// What counts for a kind.
    pub(crate) fn of(&self, kind: ResourceKind) -> KindMetrics {
        let name = kind.as_str();
        let attempts = AttemptResult::ALL
            .map(|result| self.attempts.get_or_create_owned(&[("kind", name), ("result", result.as_str())]));
        KindMetrics {
            index: kind as usize,
            attempts,
            durations: self.durations.clone(),
            failing: self.failing.get_or_create_owned(&[("kind", name)]),
        }
    }
}

impl KindMetrics {
    /// An attempt ended.
    pub(crate) fn attempted(&self, result: AttemptResult, took: Duration) {
        if let Some(counter) = self.attempts.get(result as usize) {
            counter.inc();
        }
        self.durations.observe(self.index, took);
    }

    /// This many resources fail.
    pub(crate) fn failing(&self, resources: usize) {
        self.failing.set(i64::try_from(resources).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_counts_for_its_kind_and_result() {
        let mut registry = Registry::default();
        let metrics = ReconcileMetrics::registered(&mut registry);
        for (number, result) in AttemptResult::ALL.into_iter().enumerate() {
            for _ in 0..=number {
                metrics.of(ResourceKind::ApiKey).attempted(result, Duration::from_millis(1));
            }
        }
        metrics.of(ResourceKind::SshKey).failing(3);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"reconciles_total{kind="ApiKey",result="done"} 1"#,
            r#"reconciles_total{kind="ApiKey",result="timed_out"} 7"#,
            r#"reconciles_total{kind="Account",result="done"} 0"#,
            r#"reconcile_duration_seconds_count{kind="ApiKey"} 28"#,
            r#"reconcile_duration_seconds_count{kind="SshKey"} 0"#,
            r#"resources_failing{kind="SshKey"} 3"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
