//! What was decided about presented keys.

use keyplane_core::audit::RefusalReason;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Decisions about presented keys.
#[derive(Clone, Debug)]
pub(crate) struct KeyDecisions {
    admitted: Counter,
    refused: [Counter; RefusalReason::ALL.len()],
}

impl KeyDecisions {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let outcomes = Family::<[(&str, &str); 1], Counter>::default();
        let of = |outcome| outcomes.get_or_create_owned(&[("outcome", outcome)]);
        let decisions =
            Self { admitted: of("admitted"), refused: RefusalReason::ALL.map(|reason| of(reason.as_str())) };
        registry.register(
            "key_decisions",
            "Decisions about presented keys: `admitted`, or why not, in the words of the audit log",
            outcomes,
        );
        decisions
    }

    /// A key was admitted.
    pub(crate) fn admitted(&self) {
        self.admitted.inc();
    }

    /// A key, or what was presented for one, was refused.
    pub(crate) fn refused(&self, reason: RefusalReason) {
        if let Some(counter) = self.refused.get(reason as usize) {
            counter.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_counts_under_its_own_name() {
        let mut registry = Registry::default();
        let decisions = KeyDecisions::registered(&mut registry);
        decisions.admitted();
        for (index, reason) in RefusalReason::ALL.into_iter().enumerate() {
            for _ in 0..index + 2 {
                decisions.refused(reason);
            }
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains(r#"key_decisions_total{outcome="admitted"} 1"#), "{text}");
        for (index, reason) in RefusalReason::ALL.into_iter().enumerate() {
            let line = format!("key_decisions_total{{outcome=\"{}\"}} {}\n", reason.as_str(), index + 2);
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
