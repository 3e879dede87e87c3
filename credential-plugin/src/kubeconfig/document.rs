//! A kubeconfig as text and as what it says.

use std::io;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::failure::{Failure, FailureKind};
use crate::kubeconfig::text_edit::{edit, line_end};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A kubeconfig that was read.
#[derive(Debug, Default)]
pub struct Document {
    text: Zeroizing<String>,
    value: Value,
}

/// A text that says something new.
#[derive(Debug)]
pub struct Edited {
    /// The whole text.
    pub text: Zeroizing<String>,
    /// Whether it is the old one but for some lines. Else comments and layout are lost.
    pub layout_kept: bool,
}

impl Document {
    /// Reads a kubeconfig; `place` names it in errors. An empty text is an empty kubeconfig.
    ///
    /// # Errors
    /// [`FailureKind::File`] when it is not YAML. The text is not quoted: it holds secrets.
    pub fn parse(text: Zeroizing<String>, place: &str) -> Result<Self, Failure> {
        let content = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
        let value = if content.trim().is_empty() { Ok(Value::Null) } else { from_yaml(content) };
        let value = value.map_err(|position| {
            Failure::new(
                FailureKind::File,
                format!("the kubeconfig is not YAML{position}"),
                place,
                "mend it by hand, or give another file with --merge-into",
            )
        })?;
        Ok(Self { text, value })
    }

    /// What it says.
    #[must_use]
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// The text that says `new`, with as much of this one as can be kept.
    ///
    /// # Errors
    /// [`FailureKind::Local`]; no JSON value is known that gives it.
    pub fn edited(&self, new: &Value) -> Result<Edited, Failure> {
        let kept = self.kept(new)?.map(Zeroizing::new);
        if let Some(text) = kept.filter(|text| says(text, new)) {
            return Ok(Edited { text, layout_kept: true });
        }
        Ok(Edited { text: to_yaml(new)?, layout_kept: false })
    }

    fn kept(&self, new: &Value) -> Result<Option<String>, Failure> {
        if self.value == *new {
            return Ok(Some(self.text.to_string()));
        }
        let (mark, content) = match self.text.strip_prefix(BYTE_ORDER_MARK) {
            Some(content) => ("\u{feff}", content),
            None => ("", self.text.as_str()),
        };
        if !self.value.is_null() {
            return Ok(edit(content, &self.value, new).map(|text| format!("{mark}{text}")));
        }
        // Comments alone, or nothing.
        let eol = line_end(content);
        let between = if content.is_empty() || content.ends_with('\n') { "" } else { eol };
        Ok(Some(format!("{mark}{content}{between}{}", to_yaml(new)?.replace('\n', eol))))
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        wipe(std::mem::take(&mut self.value));
    }
}

/// Overwrites the texts of a value.
fn wipe(value: Value) {
    match value {
        Value::String(text) => drop(Zeroizing::new(text)),
        Value::Array(items) => items.into_iter().for_each(wipe),
        Value::Object(fields) => fields.into_iter().for_each(|(_, field)| wipe(field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn says(text: &str, value: &Value) -> bool {
    let content = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    from_yaml(content).is_ok_and(|read| {
        let same = read == *value;
        wipe(read);
        same
    })
}

/// The value, or where the text is wrong.
fn from_yaml(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str(text).map_err(|error| {
        // The parser's own words quote the text.
        error.location().map_or_else(String::new, |location| {
            format!(" at line {} column {}", location.line(), location.column())
        })
    })
}

/// A value as YAML, in the manner of kubectl: certificates on one line, and in quotes what YAML 1.1 would read as
/// something else than text.
///
/// # Errors
/// [`FailureKind::Local`]; no JSON value is known that gives it.
pub fn to_yaml(config: &Value) -> Result<Zeroizing<String>, Failure> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(config, options)
        .map(Zeroizing::new)
        .map_err(|error| Failure::output(&io::Error::other(error.to_string())))
}
