//! Kubernetes quantities in our specs: `4`, `500m`, `16Gi`, written as a number or as text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Quantities by resource name, such as `requests.cpu: "4"` (`ResourceList` in the Kubernetes API).
pub type QuantityMap = BTreeMap<String, QuantityText>;

/// A quantity as its author wrote it. People write `pods: 50` as readily as `memory: 16Gi`, so both a whole
/// number and text are taken, as Kubernetes' own fields do. Whether text is a quantity is a CEL rule of the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum QuantityText {
    /// A whole number, such as `50`.
    Number(i64),
    /// Text, such as `500m`.
    Text(String),
}

impl std::fmt::Display for QuantityText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Text(text) => text.fmt(formatter),
        }
    }
}

impl JsonSchema for QuantityText {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 32
        })
    }
}
