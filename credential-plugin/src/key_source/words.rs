//! The words of a key command: blanks part them, quotes hold them together, and no other character has a meaning.
//!
//! A shell's rules are richer, and would change what people write: a backslash is a part of each path on Windows, and a
//! `#` may stand in any name. Within quotes of one kind those of the other kind mean themselves.

use std::path::{Path, is_separator};

/// The words of the text, or none when a quote in it is not closed.
#[must_use]
pub fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some((word, after)) = first(rest).ok()? {
        words.push(word);
        rest = after;
    }
    Some(words)
}

/// The text with another first word, which may hold any character, and the same others; none when a quote in it is not
/// closed or it has no word.
#[must_use]
pub fn with_program(text: &str, program: &str) -> Option<String> {
    let (_, rest) = first(text).ok()??;
    Some(format!("{}{rest}", quoted(program)))
}

/// The word as it is written so that [`split`] gives it back.
#[must_use]
pub fn quoted(word: &str) -> String {
    if !word.is_empty() && !word.contains(|c| is_blank(c) || is_quote(c)) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r#"'"'"'"#))
}

/// Whether a program of this name is looked for from the current folder: not on PATH, and not at one place alone.
#[must_use]
pub fn is_relative_path(program: &str) -> bool {
    let path = Path::new(program);
    // More than one part without a separator is Windows' `C:tool`.
    !path.is_absolute() && (program.contains(is_separator) || path.components().count() > 1)
}

/// A quote is not closed.
struct OpenQuote;

/// The first word and what comes after it, or none when there is no word.
fn first(text: &str) -> Result<Option<(String, &str)>, OpenQuote> {
    let text = text.trim_start_matches(is_blank);
    if text.is_empty() {
        return Ok(None);
    }
    let mut word = String::new();
    let mut open = None;
    for (at, c) in text.char_indices() {
        match open {
            Some(quote) if c == quote => open = None,
            None if is_quote(c) => open = Some(c),
            None if is_blank(c) => return Ok(text.get(at..).map(|rest| (word, rest))),
            _ => word.push(c),
        }
    }
    if open.is_none() { Ok(Some((word, ""))) } else { Err(OpenQuote) }
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

const fn is_quote(c: char) -> bool {
    matches!(c, '\'' | '"')
}
