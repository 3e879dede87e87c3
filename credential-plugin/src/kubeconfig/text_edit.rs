//! Changes what a YAML text says by changing only the lines that must say something else.
//!
//! The tree of the text is walked beside the old and the new value; where they are the same, nothing is touched. So
//! comments, order, quoting and layout of everything else stay as they are, byte for byte. Who calls this reads the
//! result again and compares it with the new value: what is odd (anchors, merge keys) may be given up, but never wrong.

use std::ops::Range;

use serde_json::{Map, Value};

use crate::kubeconfig::document::to_yaml;
use crate::kubeconfig::yaml_tree::{Node, NodeKind, Pair, parse};

/// The text of `old`, changed so that it says `new`; none when that cannot be done by changing some of its lines. The
/// root's lists are never written anew: the entries in them are other people's.
#[must_use]
pub fn edit(text: &str, old: &Value, new: &Value) -> Option<String> {
    let tree = parse(text)?;
    let eol = line_end(text);
    let mut editor = Editor { text, eol, changes: Vec::new() };
    editor.within(&tree, old, new, Depth::Root)?;
    editor.applied()
}

/// How the text's lines end: as its first does.
#[must_use]
pub fn line_end(text: &str) -> &'static str {
    match text.find('\n').and_then(|at| text.get(..at)) {
        Some(line) if line.ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

struct Change {
    span: Range<usize>,
    text: String,
}

/// How deep a value stands, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Root,
    Section,
    /// In an entry, or in an unknown field.
    Deeper,
}

impl Depth {
    const fn below(self) -> Self {
        match self {
            Self::Root => Self::Section,
            Self::Section | Self::Deeper => Self::Deeper,
        }
    }
}

struct Editor<'a> {
    text: &'a str,
    eol: &'static str,
    changes: Vec<Change>,
}

impl Editor<'_> {
    fn applied(mut self) -> Option<String> {
        // Stable: at one place, what is deeper was noted first.
        self.changes.sort_by_key(|change| change.span.start);
        let mut result = String::with_capacity(self.text.len() + 4096);
        let mut done = 0;
        for change in &self.changes {
            result.push_str(self.text.get(done..change.span.start)?);
            result.push_str(&change.text);
            done = change.span.end;
        }
        result.push_str(self.text.get(done..)?);
        Some(result)
    }

    fn change(&mut self, span: Range<usize>, text: impl Into<String>) {
        self.changes.push(Change { span, text: text.into() });
    }

    /// Changes what is in a collection. None when it must be written anew as a whole, by who calls.
    fn within(&mut self, node: &Node, old: &Value, new: &Value, depth: Depth) -> Option<()> {
        let before = self.changes.len();
        let done = match (&node.kind, old, new) {
            (NodeKind::Mapping { flow, indent, pairs }, Value::Object(old), Value::Object(new)) => {
                let layout = if *flow { None } else { Some(*indent) };
                self.within_mapping(node, pairs, layout, (old, new), depth)
            }
            (NodeKind::Sequence { flow, items }, Value::Array(old), Value::Array(new)) => {
                self.within_sequence(node, items, *flow, (old, new), depth)
            }
            _ => None,
        };
        if done.is_none() {
            self.changes.truncate(before);
        }
        done
    }

    /// `indent` is the column of a block mapping's keys.
    fn within_mapping(
        &mut self,
        node: &Node,
        pairs: &[Pair],
        indent: Option<usize>,
        (old, new): (&Map<String, Value>, &Map<String, Value>),
        depth: Depth,
    ) -> Option<()> {
        if pairs.is_empty() || pairs.len() != old.len() {
            return None;
        }
        for pair in pairs {
            // A merge key (`<<`) is in the tree and not in the value.
            let old_value = old.get(&pair.name)?;
            match new.get(&pair.name) {
                Some(new_value) if new_value == old_value => {}
                Some(new_value) => {
                    let done = self.within(&pair.value, old_value, new_value, depth.below());
                    if done.is_none() {
                        if depth == Depth::Root && holds_something(old_value) {
                            return None;
                        }
                        self.replace_value(pair, new_value, indent)?;
                    }
                }
                None => self.delete_pair(pair, indent?)?,
            }
        }
        let added: Map<String, Value> = new
            .iter()
            .filter(|(name, _)| !old.contains_key(*name))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        if added.is_empty() {
            return Some(());
        }
        let last = pairs.last()?;
        if let Some(indent) = indent {
            let lines = self.lines(&Value::Object(added), indent)?;
            return self.insert_lines(node.span.end.max(self.after_key(last)), indent, lines);
        }
        let json = flow(&Value::Object(added))?;
        let inner = json.strip_prefix('{')?.strip_suffix('}')?;
        let end = self.end_of(last);
        self.change(end..end, format!(", {inner}"));
        Some(())
    }

    fn within_sequence(
        &mut self,
        node: &Node,
        items: &[Node],
        is_flow: bool,
        (old, new): (&[Value], &[Value]),
        depth: Depth,
    ) -> Option<()> {
        if items.is_empty() || items.len() != old.len() || new.len() < old.len() {
            return None;
        }
        for ((item, old), new) in items.iter().zip(old).zip(new) {
            if old == new {
                continue;
            }
            if self.within(item, old, new, depth.below()).is_none() {
                self.replace_item(item, new, is_flow)?;
            }
        }
        let added = new.get(old.len()..).filter(|added| !added.is_empty());
        let Some(added) = added else { return Some(()) };
        if is_flow {
            let json = flow(&Value::Array(added.to_vec()))?;
            let inner = json.strip_prefix('[')?.strip_suffix(']')?;
            let end = items.last()?.span.end;
            self.change(end..end, format!(", {inner}"));
            return Some(());
        }
        let column = self.dash_column(node)?;
        let lines = self.lines(&Value::Array(added.to_vec()), column)?;
        // What is indented more than the dash belongs to the item before.
        self.insert_lines(node.span.end, column + 1, lines)
    }

    fn replace_item(&mut self, item: &Node, new: &Value, in_flow: bool) -> Option<()> {
        let text = if in_flow || item.is_flow() {
            flow(new)?
        } else if item.kind == NodeKind::Inline && !item.span.is_empty() && !holds_something(new) {
            inline(new)?
        } else {
            return None;
        };
        self.change(item.span.clone(), text);
        Some(())
    }

    /// Writes a pair's value anew. `indent` is none in braces.
    fn replace_value(&mut self, pair: &Pair, new: &Value, indent: Option<usize>) -> Option<()> {
        let value = &pair.value;
        if !value.span.is_empty() && (indent.is_none() || (value.is_flow() && value.has_children())) {
            self.change(value.span.clone(), flow(new)?);
            return Some(());
        }
        let colon = self.colon(pair)?;
        let end = self.end_of(pair);
        let Some(indent) = indent else {
            self.change(colon..colon, format!(" {}", flow(new)?));
            return Some(());
        };
        if !holds_something(new) {
            if value.kind == NodeKind::Inline && !value.span.is_empty() {
                self.change(value.span.clone(), inline(new)?);
            } else {
                self.change(colon..end, format!(" {}", inline(new)?));
            }
            return Some(());
        }
        // The list's dashes stand under its key, as kubectl writes them.
        let deeper = if new.is_array() { indent } else { indent + 2 };
        let lines = self.lines(new, deeper)?;
        self.change(colon..end, "");
        let at = self.line_after(end)?;
        self.change_lines(at, lines);
        Some(())
    }

    /// Takes away the lines of a pair in a block mapping, when they hold nothing else.
    fn delete_pair(&mut self, pair: &Pair, indent: usize) -> Option<()> {
        let start = self.text.get(..pair.key.start)?.rfind('\n').map_or(0, |newline| newline + 1);
        let before = self.text.get(start..pair.key.start)?;
        if before.len() != indent || !before.bytes().all(|b| b == b' ') {
            return None;
        }
        let end = self.line_after(self.end_of(pair))?;
        self.change(start..end, "");
        Some(())
    }

    /// A block collection, each line indented by so many blanks.
    fn lines(&self, value: &Value, indent: usize) -> Option<String> {
        let text = to_yaml(value).ok()?;
        let indent = " ".repeat(indent);
        Some(text.lines().flat_map(|line| [&*indent, line, self.eol]).collect())
    }

    /// Inserts whole lines after the line on which `end` is, and after the comments that follow it at this column or
    /// deeper: they speak of what stands before them.
    fn insert_lines(&mut self, end: usize, column: usize, lines: String) -> Option<()> {
        let mut at = self.line_after(end)?;
        while let Some(line) = self.text.get(at..)?.split_inclusive('\n').next() {
            let blanks = line.len() - line.trim_start_matches(' ').len();
            if blanks < column || line.as_bytes().get(blanks) != Some(&b'#') {
                break;
            }
            at += line.len();
        }
        self.change_lines(at, lines);
        Some(())
    }

    fn change_lines(&mut self, at: usize, lines: String) {
        let is_open_end = at == self.text.len() && !self.text.ends_with('\n');
        if !is_open_end {
            return self.change(at..at, lines);
        }
        // A file without a final newline keeps being one.
        let lines = lines.strip_suffix(self.eol).unwrap_or(&lines).to_owned();
        self.change(at..at, format!("{}{lines}", self.eol));
    }

    /// Where the line after the one with `end` begins. None when more than a comment follows on this line.
    fn line_after(&self, end: usize) -> Option<usize> {
        let rest = self.text.get(end..)?;
        let line = rest.split_inclusive('\n').next().unwrap_or_default();
        let trimmed = line.trim();
        (trimmed.is_empty() || trimmed.starts_with('#')).then_some(end + line.len())
    }

    /// The column of the dashes of a block sequence. The parser tells where the sequence begins, which is at the first
    /// dash or, where the dashes stand under the key, at what follows it.
    fn dash_column(&self, node: &Node) -> Option<usize> {
        let start = node.span.start;
        let at_dash = self
            .text
            .get(start..)?
            .strip_prefix('-')
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        let dash = if at_dash {
            start
        } else {
            let before = self.text.get(..start)?.trim_end();
            before.ends_with('-').then(|| before.len() - 1)?
        };
        let line = self.text.get(..dash)?.rfind('\n').map_or(0, |newline| newline + 1);
        Some(dash - line)
    }

    /// Where a pair's colon ends.
    fn colon(&self, pair: &Pair) -> Option<usize> {
        let rest = self.text.get(pair.key.end..)?;
        let after = rest.trim_start_matches([' ', '\t']).strip_prefix(':')?;
        Some(self.text.len() - after.len())
    }

    fn after_key(&self, pair: &Pair) -> usize {
        self.colon(pair).unwrap_or(pair.key.end)
    }

    fn end_of(&self, pair: &Pair) -> usize {
        self.after_key(pair).max(pair.value.span.end)
    }
}

impl Node {
    const fn is_flow(&self) -> bool {
        matches!(self.kind, NodeKind::Sequence { flow: true, .. } | NodeKind::Mapping { flow: true, .. })
    }

    fn has_children(&self) -> bool {
        match &self.kind {
            NodeKind::Sequence { items, .. } => !items.is_empty(),
            NodeKind::Mapping { pairs, .. } => !pairs.is_empty(),
            NodeKind::Inline | NodeKind::BlockScalar => false,
        }
    }
}

fn holds_something(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => false,
    }
}

/// As it is written in braces and brackets: JSON, which is YAML.
fn flow(value: &Value) -> Option<String> {
    serde_json::to_string(value).ok()
}

/// A value that holds nothing else, on one line.
fn inline(value: &Value) -> Option<String> {
    let text = to_yaml(value).ok()?;
    let text = text.trim_end_matches('\n');
    if text.contains('\n') { flow(value) } else { Some(text.to_owned()) }
}
