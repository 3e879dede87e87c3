//! Events, in which Keyplane says what keeps it from its work.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{List, time};
use crate::kubectl::KubectlArgs;
use crate::relative_time::relative;
use crate::verbose;

/// An event, as far as the plugin reads it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// Why, as one word.
    pub reason: String,
    /// What is wrong, where, and what to do.
    pub message: String,
    /// When it was first seen.
    #[serde(deserialize_with = "time")]
    pub event_time: Option<DateTime<Utc>>,
    /// When it was last seen, of an older kind of event.
    #[serde(deserialize_with = "time")]
    pub last_timestamp: Option<DateTime<Utc>>,
    /// Its repetitions.
    pub series: Option<Series>,
}

/// How often an event was seen again.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Series {
    /// When last.
    #[serde(deserialize_with = "time")]
    pub last_observed_time: Option<DateTime<Utc>>,
}

impl Event {
    /// When it was last seen.
    #[must_use]
    pub fn last_seen(&self) -> Option<DateTime<Utc>> {
        let repeated = self.series.as_ref().and_then(|series| series.last_observed_time);
        [repeated, self.last_timestamp, self.event_time].into_iter().flatten().max()
    }

    /// What it says and how long ago, to end a sentence about what did not happen.
    #[must_use]
    pub fn told(&self) -> String {
        let seen = self.last_seen().map_or_else(|| "once".to_owned(), |time| relative(time, Utc::now()));
        format!("; Keyplane warned {seen} ({}): {}", self.reason, self.message)
    }
}

/// The newest warning about the object of this UID. None where the events cannot be read: they only explain.
#[must_use]
pub fn newest_warning(kubectl: &KubectlArgs, uid: &str) -> Option<Event> {
    let selector = format!("--field-selector=involvedObject.uid={uid},type=Warning");
    let printed =
        kubectl.run(&["get", &selector, "--output=json", "--request-timeout=20s", "--", "events"], None);
    let printed = printed
        .inspect_err(|failure| verbose::note(format_args!("the events cannot be read: {failure}")))
        .ok()?;
    newest(serde_json::from_slice::<List<Event>>(&printed).ok()?.items)
}

fn newest(events: Vec<Event>) -> Option<Event> {
    events.into_iter().max_by_key(Event::last_seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_newest_is_the_one_that_was_seen_last_however_it_is_written() {
        let list = json!({"items": [
            {"reason": "First", "lastTimestamp": "2030-01-01T00:00:01Z", "eventTime": null},
            {"reason": "Again", "eventTime": "2030-01-01T00:00:00.000000Z",
             "series": {"count": 2, "lastObservedTime": "2030-01-01T00:00:03.000000Z"}},
            {"reason": "Once", "eventTime": "2030-01-01T00:00:02.000000Z", "lastTimestamp": null},
            {"reason": "NoTime"},
        ]});
        let list: List<Event> = serde_json::from_value(list).unwrap();
        assert_eq!(newest(list.items).unwrap().reason, "Again");
        assert!(newest(Vec::new()).is_none());
    }
}
