//! Whether a stored object still says what Keyplane wants it to say.

use serde_json::Value;

use crate::quantity::same_amount;

/// Whether `observed` holds everything `desired` says. Maps may hold more (defaults, other people's labels);
/// lists must match entry for entry, so that an extra subject in a RoleBinding counts as drift.
#[must_use]
pub fn holds(observed: &Value, desired: &Value) -> bool {
    match (observed, desired) {
        (Value::Object(observed), Value::Object(desired)) => desired.iter().all(|(key, value)| {
            observed.get(key).is_some_and(|observed| holds(observed, value)) || is_empty(value)
        }),
        (Value::Array(observed), Value::Array(desired)) => {
            observed.len() == desired.len()
                && observed.iter().zip(desired).all(|(observed, desired)| holds(observed, desired))
        }
        (observed, desired) => observed == desired,
    }
}

/// The API server drops empty maps and lists; wanting one is wanting nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Whether two maps of quantities are the same, name for name, by amount.
#[must_use]
pub fn same_quantities<'a>(
    observed: impl IntoIterator<Item = (&'a String, &'a str)>,
    desired: impl IntoIterator<Item = (&'a String, &'a str)>,
) -> bool {
    let observed: std::collections::BTreeMap<_, _> = observed.into_iter().collect();
    let desired: std::collections::BTreeMap<_, _> = desired.into_iter().collect();
    observed.len() == desired.len()
        && desired
            .iter()
            .all(|(name, amount)| observed.get(name).is_some_and(|observed| same_amount(observed, amount)))
}
