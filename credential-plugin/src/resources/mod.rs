//! What the plugin reads of Keyplane's resources. A field that is missing or not as expected is absent: nobody's object
//! keeps another's from being listed.

pub mod api_key;
pub mod condition;
pub mod event;
pub mod ssh_key;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// The objects of a list, as kubectl prints it.
#[derive(Debug, Deserialize)]
pub struct List<T> {
    /// The objects.
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
}

/// What every object carries.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its identity: another object of the same name has another.
    pub uid: String,
    /// Which state of it this is.
    pub resource_version: String,
    /// Which state of its spec this is.
    pub generation: i64,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A time as a spec names it: RFC 3339, in milliseconds.
#[must_use]
pub fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A time, where it is one.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| DateTime::parse_from_rfc3339(&text).ok()).map(|time| time.to_utc()))
}
