//! Whether the audit log can be written.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Lines of the audit log.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditMetrics {
    lines: Counter,
    failures: Counter,
}

impl AuditMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("audit_lines", "Lines that were written to the audit log", metrics.lines.clone());
        let failures = metrics.failures.clone();
        registry.register("audit_failures", "Lines that could not be written to the audit log", failures);
        metrics
    }

    /// This many lines were written, or could not be.
    pub(crate) fn written(&self, lines: usize, is_written: bool) {
        let counter = if is_written { &self.lines } else { &self.failures };
        counter.inc_by(lines as u64);
    }
}
