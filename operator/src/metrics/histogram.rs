//! Durations in buckets. The library's histogram takes a lock for each observation; this one only adds.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// A histogram for each value of one label.
#[derive(Debug)]
pub(super) struct Histograms {
    label: &'static str,
    rows: Vec<(&'static str, Histogram)>,
}

/// Durations, counted by the first of `bounds` (seconds, rising) that they do not exceed.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds, for what exceeds them all.
    counts: Vec<AtomicU64>,
    nanoseconds: AtomicU64,
}

impl Histograms {
    pub(super) fn new(
        label: &'static str,
        values: impl IntoIterator<Item = &'static str>,
        bounds: &'static [f64],
    ) -> Self {
        Self { label, rows: values.into_iter().map(|value| (value, Histogram::new(bounds))).collect() }
    }

    /// Adds a duration to the row of the value at `index`.
    pub(super) fn observe(&self, index: usize, duration: Duration) {
        if let Some((_, histogram)) = self.rows.get(index) {
            histogram.observe(duration);
        }
    }
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, nanoseconds: AtomicU64::new(0) }
    }

    fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let sum = Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

impl EncodeMetric for Histograms {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (value, histogram) in &self.rows {
            histogram.encode(encoder.encode_family(&[(self.label, *value)])?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_duration_counts_in_its_bucket_and_in_all_above() {
        let histograms = Histograms::new("kind", ["a", "b"], &[0.001, 0.25]);
        for milliseconds in [0, 1, 2, 250, 251] {
            histograms.observe(0, Duration::from_millis(milliseconds));
        }
        histograms.observe(2, Duration::from_secs(1));
        let mut registry = Registry::default();
        registry.register("t", "T", histograms);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "t_sum{kind=\"a\"} 0.504",
            "t_count{kind=\"a\"} 5",
            "t_bucket{le=\"0.001\",kind=\"a\"} 2",
            "t_bucket{le=\"0.25\",kind=\"a\"} 4",
            "t_bucket{le=\"+Inf\",kind=\"a\"} 5",
            "t_count{kind=\"b\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
