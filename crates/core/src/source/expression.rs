//! JMESPath expressions (<https://jmespath.org/specification.html>) as configuration gives them.

use jmespath::ast::Ast;
use jmespath::{Context, DEFAULT_RUNTIME, ErrorReason, Rcvar, Variable, interpret};

use super::{json, poison};
use crate::outcome::Failure;

/// The longest expression, in bytes.
const EXPRESSION_BYTES: usize = 1_024;
/// How many operators and opening brackets an expression may have: parsing and evaluating call themselves for each, on
/// a stack of 2 MiB.
const OPERATORS: usize = 100;
/// What these are made of.
const OPERATOR_CHARS: &str = "([{!&|.*?";
/// The largest step of a slice: adding a larger one to a position may overflow inside the library.
const STEP: u32 = 1_000_000;

/// Why a mapping cannot be built: which field is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {message}")]
pub struct MapError {
    /// The field, as the user named it.
    pub field: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl MapError {
    pub(super) fn new(field: &str, message: impl Into<String>) -> Self {
        MapError { field: field.to_owned(), message: message.into() }
    }
}

/// An expression that parses, whose functions exist.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expression {
    field: String,
    text: String,
    ast: Ast,
}

impl Expression {
    /// Parses the expression of a field.
    pub(super) fn parse(field: &str, text: &str) -> Result<Self, MapError> {
        if text.len() > EXPRESSION_BYTES {
            let message = format!("the expression is {} bytes long; at most {EXPRESSION_BYTES} are accepted", text.len());
            return Err(MapError::new(field, message));
        }
        if text.chars().filter(|c| OPERATOR_CHARS.contains(*c)).count() > OPERATORS {
            return Err(MapError::new(field, format!("the expression has more than {OPERATORS} operators and brackets")));
        }
        let ast = jmespath::parse(text).map_err(|error| {
            let said = match &error.reason {
                ErrorReason::Parse(said) => said.clone(),
                ErrorReason::Runtime(said) => said.to_string(),
            };
            let column = text.chars().count().min(error.offset) + 1;
            MapError::new(field, format!("the expression `{text}` is wrong at column {column}: {said}"))
        })?;
        match fault(&ast) {
            Some(fault) => Err(MapError::new(field, format!("the expression `{text}` {fault}"))),
            None => Ok(Expression { field: field.to_owned(), text: text.to_owned(), ast }),
        }
    }

    /// The expression as it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Its value in an event. A function that does not take what it finds there makes the event poison.
    pub(super) fn value(&self, event: &Rcvar) -> Result<Rcvar, Failure> {
        let mut context = Context::new(&self.text, &DEFAULT_RUNTIME);
        interpret(event, &self.ast, &mut context).map_err(|error| {
            let said = match &error.reason {
                ErrorReason::Parse(said) => said.clone(),
                ErrorReason::Runtime(said) => said.to_string(),
            };
            poison(format!("the expression for `{}` cannot be worked out: {said}", self.field))
        })
    }

    /// Its value as an id or a name: a text that is not blank, or a number; nothing where it is null or blank.
    pub(super) fn scalar(&self, event: &Rcvar) -> Result<Option<String>, Failure> {
        match &*self.value(event)? {
            Variable::Null => Ok(None),
            Variable::String(text) => Ok(Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)),
            Variable::Number(number) if number.is_f64() && number.as_f64().is_some_and(|n| n.abs() >= EXACT) => {
                let remedy = "send it as a text";
                Err(poison(format!(
                    "the expression for `{}` gives a number with too many digits to be an id; {remedy}",
                    self.field
                )))
            }
            Variable::Number(number) => Ok(Some(number.to_string())),
            other => Err(poison(format!("the expression for `{}` gives {}, not a text", self.field, json::kind(other)))),
        }
    }

    /// Its value as a column has it: texts as they are, other values as their JSON, nothing for null.
    pub(super) fn column(&self, event: &Rcvar) -> Result<Option<String>, Failure> {
        Ok(match &*self.value(event)? {
            Variable::Null => None,
            Variable::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        })
    }
}

/// 2⁵³: from here on, different integers may be the same float (IEEE 754 binary64).
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What would fail in every event, though it parses.
fn fault(ast: &Ast) -> Option<String> {
    let both = |lhs, rhs| fault(lhs).or_else(|| fault(rhs));
    match ast {
        Ast::Function { name, .. } if DEFAULT_RUNTIME.get_function(name).is_none() => {
            Some(format!("calls `{name}`, which is not a function of JMESPath"))
        }
        Ast::Slice { step, .. } if !(1..=STEP).contains(&step.unsigned_abs()) => {
            Some(format!("has a slice with the step {step}; 1 to {STEP} or -1 to -{STEP} are accepted"))
        }
        Ast::Function { args: parts, .. } | Ast::MultiList { elements: parts, .. } => parts.iter().find_map(fault),
        Ast::MultiHash { elements, .. } => elements.iter().find_map(|pair| fault(&pair.value)),
        Ast::Comparison { lhs, rhs, .. }
        | Ast::Projection { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. }
        | Ast::Subexpr { lhs, rhs, .. }
        | Ast::Condition { predicate: lhs, then: rhs, .. } => both(lhs, rhs),
        Ast::Expref { ast: node, .. } | Ast::Flatten { node, .. } | Ast::Not { node, .. } | Ast::ObjectValues { node, .. } => {
            fault(node)
        }
        Ast::Identity { .. } | Ast::Field { .. } | Ast::Index { .. } | Ast::Literal { .. } | Ast::Slice { .. } => None,
    }
}
