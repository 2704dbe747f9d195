//! A configuration as it is written: texts, lists and maps, each with its place. Nothing is interpreted yet.

use super::problem::At;

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) at: At,
    pub(crate) value: Value,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing: `key:`, `~` or `null`.
    Nothing,
    /// One word, number or text, verbatim and without its quotes.
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a map with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: At,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn text(at: At, text: impl Into<String>) -> Self {
        Node { at, value: Value::Text(text.into()) }
    }

    /// What stands there, for messages: never the content.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Nothing => "nothing",
            Value::Text(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map of keys",
        }
    }

    /// How deep lists and maps are nested in it, itself included.
    pub(crate) fn depth(&self) -> usize {
        match &self.value {
            Value::Nothing | Value::Text(_) => 0,
            Value::List(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            Value::Map(entries) => 1 + entries.iter().map(|e| e.node.depth()).max().unwrap_or(0),
        }
    }

    /// How many values it holds, itself included.
    pub(crate) fn size(&self) -> usize {
        match &self.value {
            Value::Nothing | Value::Text(_) => 1,
            Value::List(items) => 1 + items.iter().map(Node::size).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|e| e.node.size()).sum::<usize>(),
        }
    }

    /// Moves everything to one place: that of an environment variable, whose text has no lines.
    pub(crate) fn moved_to(mut self, at: &At) -> Self {
        self.at = at.clone();
        self.value = match self.value {
            Value::List(items) => Value::List(items.into_iter().map(|n| n.moved_to(at)).collect()),
            Value::Map(entries) => {
                Value::Map(entries.into_iter().map(|e| Entry { key: e.key, at: at.clone(), node: e.node.moved_to(at) }).collect())
            }
            single => single,
        };
        self
    }
}
