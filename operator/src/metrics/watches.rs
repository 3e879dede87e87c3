//! How fresh the stores are, as it is when somebody asks.

use std::fmt;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::index::Freshness;

#[derive(Debug)]
struct Watches(Freshness);

pub(super) fn register(registry: &mut Registry, freshness: &Freshness) {
    registry.register_collector(Box::new(Watches(freshness.clone())));
}

impl Collector for Watches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let seen = self.0.look(Instant::now());
        let help = "How long ago the API server was last heard of on the watch that keeps a store fresh.";
        let mut ages =
            encoder.encode_descriptor("watch_age", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for store in &seen {
            let labels = [("part", store.part), ("kind", store.kind.as_str())];
            ages.encode_family(&labels)?.encode_gauge(&store.age.as_secs_f64())?;
        }
        let help = "Objects in a store.";
        let mut objects = encoder.encode_descriptor("watch_objects", help, None, MetricType::Gauge)?;
        for store in &seen {
            let labels = [("part", store.part), ("kind", store.kind.as_str())];
            objects.encode_family(&labels)?.encode_gauge(&store.objects)?;
        }
        Ok(())
    }
}
