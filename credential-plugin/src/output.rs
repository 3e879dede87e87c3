//! How results are shown: a table as kubectl prints them, or JSON for programs.

use std::collections::BTreeSet;
use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::secret_text::without_keys;
use crate::visible_text::{is_hidden, visible};

/// The form of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Columns for people.
    #[default]
    Table,
    /// JSON for programs.
    Json,
}

/// Writes a value as indented JSON. What [is hidden](is_hidden) stands in it as `\uXXXX`: the value is the same for a
/// program, and on a terminal it changes nothing.
///
/// # Errors
/// [`FailureKind::Local`](crate::failure::FailureKind::Local) when the output cannot be written.
pub fn json(value: &impl Serialize, out: &mut impl Write) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value).map_err(|error| Failure::output(&error.into()))?;
    writeln!(out, "{}", escaped(&json)).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// JSON in which no character is hidden but the ends of its own lines.
fn escaped(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        // Between texts there are only blanks and ends of lines; in them serde_json has escaped those.
        if is_hidden(c) && c != '\n' {
            shown.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The value with the names of all fields as Kubernetes writes them: `expiresAt` for the exchange's `expires_at`. A field
/// beside which another one has that name keeps its own, so that none is lost.
#[must_use]
pub fn camel_case(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let told: BTreeSet<String> = fields.keys().cloned().collect();
            let mut shown = Map::new();
            for (name, value) in fields {
                let camel = camel_name(&name);
                let is_taken = told.contains(&camel) || shown.contains_key(&camel);
                shown.insert(if is_taken { name } else { camel }, camel_case(value));
            }
            Value::Object(shown)
        }
        Value::Array(values) => Value::Array(values.into_iter().map(camel_case).collect()),
        value => value,
    }
}

fn camel_name(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}

/// Writes rows under a head in columns, three blanks apart, as kubectl does. A cell is shown on one line, without control
/// characters: it may come from somebody else's object.
///
/// # Errors
/// [`FailureKind::Local`](crate::failure::FailureKind::Local) when the output cannot be written.
pub fn table(head: &[&str], rows: &[Vec<String>], out: &mut impl Write) -> Result<(), Failure> {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(&head)
        .chain(rows)
        .map(|row| row.iter().map(|cell| visible(cell)).collect())
        .collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = lines.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        })
        .collect();
    for row in &lines {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = padded.collect::<Vec<_>>().join("   ");
        writeln!(out, "{}", line.trim_end()).map_err(|error| Failure::output(&error))?;
    }
    out.flush().map_err(|error| Failure::output(&error))
}

/// Writes what is to be said about one thing, a line each: the name, a colon, and the value from one column on. It is shown
/// as a cell of a [`table`], without what looks like a key.
///
/// # Errors
/// [`FailureKind::Local`](crate::failure::FailureKind::Local) when the output cannot be written.
pub fn list(lines: &[(&str, String)], out: &mut impl Write) -> Result<(), Failure> {
    let width = lines.iter().map(|(name, _)| name.chars().count() + 1).max().unwrap_or_default();
    for (name, value) in lines {
        let value = without_keys(&visible(value));
        writeln!(out, "{:width$}   {value}", format!("{name}:")).map_err(|error| Failure::output(&error))?;
    }
    out.flush().map_err(|error| Failure::output(&error))
}

/// Writes a sentence on a line of its own, without control characters: a part of it may come from somebody else's object.
///
/// # Errors
/// [`FailureKind::Local`](crate::failure::FailureKind::Local) when the output cannot be written.
pub fn line(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    writeln!(out, "{}", visible(text)).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn json_shows_nothing_hidden_and_is_the_same_value(
            texts: Vec<String>,
            hidden in proptest::collection::vec("[\u{7f}-\u{9f}\u{ad}\u{200b}-\u{202e}\u{e0000}-\u{e007f}\\\\\"\n\u{1b}u]{0,9}", 0..4),
        ) {
            let fields: Map<String, Value> = hidden.iter().map(|text| (text.clone(), json!([text]))).collect();
            let value = json!({"texts": texts, "fields": fields});
            let mut out = Vec::new();
            super::json(&value, &mut out).unwrap();
            let shown = String::from_utf8(out).unwrap();
            prop_assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n'), "{:?}", shown);
            prop_assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
        }
    }

    #[test]
    fn json_escapes_what_a_terminal_would_obey() {
        let mut out = Vec::new();
        super::json(&json!({"displayName": "a\u{9b}2J\u{202e}b\u{e0041} für 東京"}), &mut out).unwrap();
        let shown = "{\n  \"displayName\": \"a\\u009b2J\\u202eb\\udb40\\udc41 für 東京\"\n}\n";
        assert_eq!(String::from_utf8(out).unwrap(), shown);
    }

    #[test]
    fn of_two_fields_that_would_have_one_name_none_is_lost() {
        for fields in
            [json!({"kubernetes_exec": 1, "kubernetesExec": 2}), json!({"a_b": 1, "aB": 2, "a__b": 3})]
        {
            assert_eq!(camel_case(fields.clone()), fields);
        }
        assert_eq!(camel_case(json!({"a__b": 1, "a_b": 2})), json!({"aB": 1, "a_b": 2}));
    }

    #[test]
    fn every_field_is_named_as_kubernetes_does_and_no_value_changes() {
        let told = json!({"scopes": {"kubernetes_exec": {"all_namespaces": true}}, "allowed_cidrs": [{"a_b": "c_d"}]});
        let shown =
            json!({"scopes": {"kubernetesExec": {"allNamespaces": true}}, "allowedCidrs": [{"aB": "c_d"}]});
        assert_eq!(camel_case(told), shown);
        for (name, camel) in [("name", "name"), ("expiresAt", "expiresAt"), ("a__b_", "aB"), ("", "")] {
            assert_eq!(camel_name(name), camel);
        }
    }
}
