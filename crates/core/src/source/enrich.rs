//! What an enriched event's answer holds: its attachments, and further columns.

use std::collections::BTreeMap;

use super::expression::{Expression, MapError};
use super::jmes::{check_column, digest};
use super::{CARRIED_BYTES, Decoded, cut, entries, json};
use crate::outcome::Failure;

/// Where the answer of an endpoint holds what.
#[derive(Debug, Clone, PartialEq)]
pub struct EnrichMapping {
    attachments: Option<Expression>,
    columns: BTreeMap<String, Expression>,
}

impl EnrichMapping {
    /// Builds the mapping of JMESPath expressions: `attachments` as in [`JmesMapping`](super::JmesMapping), taken in
    /// place of the event's own; and columns, which are added to the event's own and win over those of the same name.
    pub fn new(attachments: Option<&str>, columns: &[(String, String)]) -> Result<Self, MapError> {
        let attachments = attachments.map(|text| Expression::parse("attachments", text)).transpose()?;
        let mut parsed = BTreeMap::new();
        for (name, text) in columns {
            check_column(name)?;
            if parsed.insert(name.clone(), Expression::parse(name, text)?).is_some() {
                return Err(MapError::new(name, "the column is given twice"));
            }
        }
        Ok(EnrichMapping { attachments, columns: parsed })
    }

    /// The names of the columns, which object paths may use.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// Changes with each change of an expression.
    pub(super) fn version(&self) -> String {
        let name = "attachments".to_owned();
        let attachments = self.attachments.iter().map(|expression| (expression.text(), &name));
        format!("enrich/{}", digest(attachments.chain(self.columns.iter().map(|(name, e)| (e.text(), name)))))
    }

    /// Puts what the answer says into what was read in the event.
    pub(super) fn apply(&self, answer: &[u8], decoded: &mut Decoded) -> Result<(), Failure> {
        let answer = json::parse("the answer that enriches the event", json::text_of("the answer", answer)?)?;
        if let Some(attachments) = &self.attachments {
            (decoded.items, decoded.without_list) = entries::items(&*attachments.value(&answer)?)?;
        }
        for (name, expression) in &self.columns {
            let Some(value) = expression.column(&answer)? else { continue };
            decoded.task_columns.insert(name.clone().into(), cut(value.clone(), CARRIED_BYTES));
            decoded.columns.insert(name.clone().into(), value);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "enrich_tests.rs"]
mod tests;
