//! What waits to be written into the keys' statuses.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// How much waits, and how much was written, at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UseCounts {
    /// Uses that are counted in memory only.
    pub(crate) pending: u64,
    /// Statuses that were written for uses.
    pub(crate) writes: u64,
}

/// Asks whoever counts uses. Nobody does before the API is served.
#[derive(Clone, Default)]
pub(crate) struct UseMetrics(Arc<OnceLock<Box<dyn Fn() -> UseCounts + Send + Sync>>>);

impl UseMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// From now on `counts` is asked. The first who is named is.
    pub(crate) fn ask(&self, counts: impl Fn() -> UseCounts + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(counts));
    }
}

impl Collector for UseMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let UseCounts { pending, writes } = self.0.get().map(|counts| counts()).unwrap_or_default();
        let help = "Uses of keys that are counted in memory and not written down yet.";
        encoder.encode_descriptor("uses_pending", help, None, MetricType::Gauge)?.encode_gauge(&pending)?;
        let help = "Statuses of keys that were written to take down uses.";
        let mut encoder = encoder.encode_descriptor("usage_writes", help, None, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, u64>(&writes, None)
    }
}

impl fmt::Debug for UseMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("UseMetrics").finish_non_exhaustive()
    }
}
