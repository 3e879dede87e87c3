//! One line of the header `Forwarded` (RFC 7239, section 4).
//!
//! A line is read from left to right and as a whole. Quotes can be opened by whoever wrote the line's beginning, so a
//! line that is malformed anywhere tells nothing at all: every entry of it is unreadable.

use std::net::IpAddr;

use super::{OWS, node};

/// What the elements of a line say of whom they were forwarded for, from left to right. `None` is an element that
/// names no address. A malformed line is one such element.
pub(super) fn addresses(line: &str) -> Vec<Option<IpAddr>> {
    elements(line).unwrap_or_else(|| vec![None])
}

/// `None` when the line is malformed.
fn elements(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let mut elements = Vec::new();
    let mut node_of_element: Option<String> = None;
    let mut rest = line.trim_start_matches(OWS);
    loop {
        let (name, after_name) = split_at_first(rest, |c| !is_token(c));
        rest = after_name;
        // A pair may be absent: a proxy that knows nothing of its client still adds an element.
        if !name.is_empty() {
            let (value, after_value) = value(after_name.strip_prefix('=')?)?;
            rest = after_value;
            // Of two the client could have written one.
            if name.eq_ignore_ascii_case("for") && node_of_element.replace(value).is_some() {
                return None;
            }
        }
        let mut following = rest.trim_start_matches(OWS).chars();
        let delimiter = following.next();
        rest = following.as_str().trim_start_matches(OWS);
        if delimiter != Some(';') {
            elements.push(node_of_element.take().and_then(|node| node::strict(&node)));
        }
        match delimiter {
            None => return Some(elements),
            Some(';' | ',') => {}
            Some(_) => return None,
        }
    }
}

/// The value that the text begins with, and what follows it. `None` when a quote is never closed.
fn value(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        return unquoted(quoted);
    }
    // Colons and brackets should be in quotes; some proxies write them without.
    let (value, rest) = split_at_first(text, |c| !is_token(c) && !":[]".contains(c));
    Some((value.to_owned(), rest))
}

/// The content of a quoted string whose opening quote is gone, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut content = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((content, characters.as_str())),
            '\\' => content.push(characters.next()?),
            character => content.push(character),
        }
    }
}

fn split_at_first(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at_checked(text.find(ends).unwrap_or(text.len())).unwrap_or((text, ""))
}

/// Whether a token may hold this character (RFC 9110, section 5.6.2).
fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}
