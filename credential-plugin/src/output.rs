//! How results are shown: a table as kubectl prints them, or JSON for programs.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::secret_text::without_keys;
use crate::visible_text::visible;

/// The form of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Columns for people.
    #[default]
    Table,
    /// JSON for programs.
    Json,
}

/// Writes a value as indented JSON.
///
/// # Errors
/// [`FailureKind::Local`](crate::failure::FailureKind::Local) when the output cannot be written.
pub fn json(value: &impl Serialize, out: &mut impl Write) -> Result<(), Failure> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(|error| Failure::output(&error.into()))?;
    out.write_all(b"\n").and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// The value with the names of all fields as Kubernetes writes them: `expiresAt` for the exchange's `expires_at`.
#[must_use]
pub fn camel_case(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(name, value)| (camel_name(&name), camel_case(value))).collect(),
        ),
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
    use serde_json::json;

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
