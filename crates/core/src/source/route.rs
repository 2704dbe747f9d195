//! Routing: several sources on one topic, of which exactly one takes each event.
//!
//! Each source of the topic reads all of its events and decides by the same list which are its own; no event is
//! copied. An event that nobody wants is the first source's poison, so that it is reported once.

use std::sync::Arc;

use jmespath::Variable;

use super::expression::{Expression, MapError};
use super::{RawEvent, json};
use crate::outcome::{Class, Failure, Reason};

/// Which events of a topic a source takes.
#[derive(Debug, Clone, PartialEq)]
pub enum When {
    /// Those with a header of this name (capitals do not matter) and one of these values.
    Header {
        /// The header's name.
        name: String,
        /// Its values.
        any_of: Vec<String>,
    },
    /// Those in whose JSON the field has one of these values.
    Field {
        /// Where the field is.
        field: Field,
        /// Its values; numbers, true and false count as their texts.
        any_of: Vec<String>,
    },
}

/// A place in an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Field(Expression);

impl Field {
    /// Reads a JMESPath expression.
    pub fn parse(expression: &str) -> Result<Self, MapError> {
        Expression::parse("when", expression).map(Field)
    }
}

/// How the events of one topic are split, and which part is ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    sources: Arc<[(String, Option<When>)]>,
    ours: usize,
}

impl Route {
    /// The sources of a topic in their order, and the name of the one that this route is for. The first whose
    /// condition holds takes the event; the one without a condition takes what no other takes. The error says what
    /// is wrong with the list.
    pub fn new(sources: &[(String, Option<When>)], ours: &str) -> Result<Self, String> {
        let rest: Vec<&str> = sources.iter().filter(|(_, when)| when.is_none()).map(|(name, _)| name.as_str()).collect();
        if rest.len() > 1 {
            let names = rest.join("`, `");
            return Err(format!("the sources `{names}` share a topic: at most one of them may do without `when`"));
        }
        let position = sources.iter().position(|(name, _)| name == ours);
        let ours = position.ok_or_else(|| format!("the source `{ours}` is not on the topic's list"))?;
        Ok(Route { sources: sources.into(), ours })
    }

    /// The headers that the topic's sources look at.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().filter_map(|(_, when)| match when {
            Some(When::Header { name, .. }) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether the event is ours. An error is a poison event, told to one source only.
    pub(super) fn takes(&self, raw: &RawEvent<'_>) -> Result<bool, Failure> {
        match self.owner(raw) {
            Ok(Some(owner)) => Ok(owner == self.ours),
            Ok(None) if self.ours == 0 => {
                Err(Failure::new(Class::Poison, Reason::Unrouted, "no source takes the event: none of their conditions holds"))
            }
            Err(failure) if self.ours == 0 => Err(failure),
            Ok(None) | Err(_) => Ok(false),
        }
    }

    /// The source that takes the event. What cannot be read goes to the source without a condition, if there is one.
    fn owner(&self, raw: &RawEvent<'_>) -> Result<Option<usize>, Failure> {
        let rest = self.sources.iter().position(|(_, when)| when.is_none());
        let mut value = None;
        for (index, (_, when)) in self.sources.iter().enumerate() {
            let holds = match when {
                None => Ok(false),
                Some(When::Header { name, any_of }) => Ok(header_holds(raw, name, any_of)),
                Some(When::Field { field, any_of }) => value
                    .get_or_insert_with(|| read(raw))
                    .as_ref()
                    .map_or_else(|failure| Err(failure.clone()), |event| Ok(field_holds(event, field, any_of))),
            };
            match holds {
                Ok(true) => return Ok(Some(index)),
                Ok(false) => {}
                Err(failure) => return rest.map(Some).ok_or(failure),
            }
        }
        Ok(rest)
    }
}

fn read(raw: &RawEvent<'_>) -> Result<jmespath::Rcvar, Failure> {
    json::parse("the event", json::text_of("the event", raw.bytes)?)
}

fn header_holds(raw: &RawEvent<'_>, name: &str, any_of: &[String]) -> bool {
    let named = raw.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
    named.filter_map(|(_, value)| std::str::from_utf8(value).ok()).any(|value| any_of.iter().any(|one| one == value.trim()))
}

fn field_holds(event: &jmespath::Rcvar, field: &Field, any_of: &[String]) -> bool {
    // An expression that cannot be worked out on this event does not hold.
    let Ok(value) = field.0.value(event) else { return false };
    let text = match &*value {
        Variable::String(text) => text.trim().to_owned(),
        Variable::Number(_) | Variable::Bool(_) => value.to_string(),
        _ => return false,
    };
    any_of.contains(&text)
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
