//! How many clients are connected.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Connections of clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionMetrics {
    open: Gauge,
    refused: Counter,
}

impl ConnectionMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("connections", "Connections of clients that are open", metrics.open.clone());
        registry.register(
            "connections_refused",
            "Connections that were closed at once because too many are open",
            metrics.refused.clone(),
        );
        metrics
    }

    /// A connection was opened.
    pub(crate) fn opened(&self) {
        self.open.inc();
    }

    /// An open connection was closed.
    pub(crate) fn closed(&self) {
        self.open.dec();
    }

    /// A connection was refused, as one too many.
    pub(crate) fn refused(&self) {
        self.refused.inc();
    }
}
