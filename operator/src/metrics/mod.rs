//! What is counted and measured, for Prometheus: every metric is in docs/metrics.md.
//!
//! Every label's values come from a fixed list of ours: nothing that a client sends, and no account, key or address, gets
//! into a metric. Handles are passed to those who count, and clones of one count together; counting is an addition in
//! memory.

mod audit;
mod connections;
mod histogram;
mod http;
mod key_decisions;
mod key_use;
mod reconciles;
mod shared;
mod surface;
mod watches;

use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::index::Freshness;

pub(crate) use audit::AuditMetrics;
pub(crate) use connections::ConnectionMetrics;
pub(crate) use http::{HttpMetrics, measure};
pub(crate) use key_decisions::KeyDecisions;
pub(crate) use key_use::{UseCounts, UseMetrics};
pub(crate) use reconciles::{AttemptResult, KindMetrics, ReconcileMetrics};

/// The content type of what [`Metrics::text`] gives.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric of the process.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Requests.
    pub(crate) http: HttpMetrics,
    /// Decisions about presented keys.
    pub(crate) keys: KeyDecisions,
    /// Connections of clients.
    pub(crate) connections: ConnectionMetrics,
    /// Lines of the audit log.
    pub(crate) audit: AuditMetrics,
    /// What waits to be written into statuses.
    pub(crate) uses: UseMetrics,
    /// Attempts of the reconcilers.
    pub(crate) reconciles: ReconcileMetrics,
    leader: Gauge,
    registry: Arc<Registry>,
}

impl Metrics {
    /// Metrics that begin at zero, and tell how fresh the stores are.
    pub(crate) fn new(freshness: &Freshness) -> Self {
        let mut registry = Registry::with_prefix("keyplane");
        let leader = Gauge::default();
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which version runs; always 1", info);
        registry.register(
            "leader",
            "Whether this process reconciles: 1 while it holds the lease",
            leader.clone(),
        );
        watches::register(&mut registry, freshness);
        Self {
            http: HttpMetrics::registered(&mut registry),
            keys: KeyDecisions::registered(&mut registry),
            connections: ConnectionMetrics::registered(&mut registry),
            audit: AuditMetrics::registered(&mut registry),
            uses: UseMetrics::registered(&mut registry),
            reconciles: ReconcileMetrics::registered(&mut registry),
            leader,
            registry: Arc::new(registry),
        }
    }

    /// This process reconciles now, or does no more.
    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Everything as `OpenMetrics` text.
    ///
    /// # Errors
    /// None that is known: it is written to memory.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Type and meaning of each metric, by the name that its series have.
    fn registered() -> BTreeMap<String, (String, String)> {
        let text = Metrics::new(&Freshness::default()).text().unwrap();
        let lines = |what: &str| -> BTreeMap<String, String> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(what)?.split_once(' '));
            lines.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
        };
        let meanings = lines("# HELP ");
        let types = lines("# TYPE ").into_iter();
        types
            .map(|(name, kind)| {
                let suffix = match kind.as_str() {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                (format!("{name}{suffix}"), (kind, meanings[&name].clone()))
            })
            .collect()
    }

    #[test]
    fn the_document_tells_of_every_metric_and_of_no_other() {
        let document = include_str!("../../../docs/metrics.md");
        let rows: BTreeMap<String, (String, String)> = document
            .lines()
            .filter_map(|line| {
                let mut cells = line.strip_prefix("| `keyplane_")?.split(" | ");
                let name = cells.next()?.trim_end_matches('`');
                let name = name.split_once('{').map_or(name, |(name, _)| name);
                let (kind, meaning) = (cells.next()?.to_owned(), cells.next()?.to_owned());
                Some((format!("keyplane_{name}"), (kind, meaning)))
            })
            .collect();
        assert_eq!(rows, registered(), "docs/metrics.md (left) and operator/src/metrics (right) differ");
    }

    #[test]
    fn the_text_ends_as_openmetrics_ask_for_and_names_the_version() {
        let text = Metrics::new(&Freshness::default()).text().unwrap();
        assert!(text.ends_with("# EOF\n"), "{text}");
        let version = env!("CARGO_PKG_VERSION");
        assert!(text.contains(&format!("keyplane_build_info{{version=\"{version}\"}} 1\n")), "{text}");
    }
}
