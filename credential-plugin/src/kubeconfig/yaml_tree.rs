//! Where each value of a YAML document stands in its text.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, StructureStyle};

/// A value and where it stands. Spans are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// From its first byte to the end of what is last in it. The span of an empty value (`key:`) is empty; that of a
    /// block scalar begins after its header line.
    pub span: Range<usize>,
    /// What it is.
    pub kind: NodeKind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A scalar on one line or in quotes, or an alias.
    Inline,
    /// A scalar after `|` or `>`.
    BlockScalar,
    /// A sequence; `flow` when it is written in brackets.
    Sequence {
        /// Whether it is written in brackets.
        flow: bool,
        /// Its items.
        items: Vec<Node>,
    },
    /// A mapping.
    Mapping {
        /// Whether it is written in braces.
        flow: bool,
        /// The column of its keys, when it is not.
        indent: usize,
        /// Its pairs.
        pairs: Vec<Pair>,
    },
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Where the key stands.
    pub key: Range<usize>,
    /// The key.
    pub name: String,
    /// The value.
    pub value: Node,
}

/// A collection that is not yet at its end.
struct Open {
    start: usize,
    flow: bool,
    indent: usize,
    content: Content,
}

enum Content {
    Items(Vec<Node>),
    Pairs(Vec<Pair>, Option<Key>),
}

/// A scalar that may be a key.
struct Key {
    span: Range<usize>,
    name: String,
    /// The column of the keys of a block mapping, told at each of them.
    indent: Option<usize>,
}

/// The tree of the text's only document; none when there is no document or more than one, or when its keys are not
/// plain scalars.
#[must_use]
pub fn parse(text: &str) -> Option<Node> {
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        let range = span.byte_range()?;
        let (node, key) = match event {
            Event::Scalar(value, style, _, _) => {
                let key = Key { span: range.clone(), name: value.into_owned(), indent: span.indent };
                (scalar(text, range, style)?, Some(key))
            }
            Event::Alias(_) => (Node { span: range, kind: NodeKind::Inline }, None),
            Event::SequenceStart(style, ..) => {
                open.push(Open::new(range.start, style, Content::Items(Vec::new())));
                continue;
            }
            Event::MappingStart(style, ..) => {
                open.push(Open::new(range.start, style, Content::Pairs(Vec::new(), None)));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => (open.pop()?.close(range.end), None),
            _ => continue,
        };
        match open.last_mut() {
            Some(open) => open.take(node, key)?,
            None if root.is_none() => root = Some(node),
            None => return None,
        }
    }
    root
}

fn scalar(text: &str, span: Range<usize>, style: ScalarStyle) -> Option<Node> {
    if !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
        return Some(Node { span, kind: NodeKind::Inline });
    }
    // The parser counts what follows up to the next token.
    let content = text.get(span.clone())?.trim_end();
    Some(Node { span: span.start..span.start + content.len(), kind: NodeKind::BlockScalar })
}

impl Open {
    const fn new(start: usize, style: StructureStyle, content: Content) -> Self {
        Self { start, flow: matches!(style, StructureStyle::Flow), indent: 0, content }
    }

    fn take(&mut self, node: Node, key: Option<Key>) -> Option<()> {
        match &mut self.content {
            Content::Items(items) => items.push(node),
            Content::Pairs(pairs, pending) => {
                if let Some(key) = pending.take() {
                    pairs.push(Pair { key: key.span, name: key.name, value: node });
                } else {
                    let key = key?;
                    self.indent = key.indent.unwrap_or(self.indent);
                    *pending = Some(key);
                }
            }
        }
        Some(())
    }

    fn close(self, end: usize) -> Node {
        let Self { start, flow, indent, content } = self;
        let (last, kind) = match content {
            Content::Items(items) => {
                (items.last().map(|item| item.span.end), NodeKind::Sequence { flow, items })
            }
            Content::Pairs(pairs, _) => {
                let last = pairs.last().map(|pair| pair.key.end.max(pair.value.span.end));
                (last, NodeKind::Mapping { flow, indent, pairs })
            }
        };
        // A block collection has no end of its own: the parser tells it at the next token.
        let end = if flow { end } else { last.unwrap_or(start) };
        Node { span: start..end.max(start), kind }
    }
}
