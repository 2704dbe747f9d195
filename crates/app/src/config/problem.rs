//! What is wrong in a configuration, and where.

use std::fmt;

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// In the file; both count from 1, columns in characters.
    File {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In this environment variable.
    Environment(String),
    /// Nowhere: it is the default.
    Default,
}

impl At {
    /// The beginning of the file.
    pub(crate) const START: At = At::File { line: 1, column: 1 };

    /// As messages name it.
    pub(crate) fn shown(&self, file: &str) -> String {
        match self {
            At::File { line, column } => format!("{file}:{line}:{column}"),
            At::Environment(variable) => format!("environment {variable}"),
            At::Default => "default".to_owned(),
        }
    }
}

/// One thing that is wrong, or that deserves a second look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub at: At,
    /// The key with its path; empty where the file as a whole is meant.
    pub key: String,
    /// What is wrong and what to do; never a secret.
    pub message: String,
}

impl Problem {
    /// `file:line:column: key: message`.
    pub fn shown(&self, file: &str) -> String {
        let place = self.at.shown(file);
        if self.key.is_empty() {
            format!("{place}: {}", self.message)
        } else {
            format!("{place}: {}: {}", self.key, self.message)
        }
    }
}

/// Everything that is wrong in a configuration, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file as the user named it.
    pub file: String,
    /// The errors; at least one.
    pub errors: Vec<Problem>,
    /// What was noticed besides.
    pub warnings: Vec<Problem>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.as_slice() {
            [one] => f.write_str(&one.shown(&self.file)),
            many => {
                write!(f, "{} errors", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {}", problem.shown(&self.file)))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// Shorter texts hide nothing, and would be found in every other word.
const HIDDEN_BYTES: usize = 4;

/// Gathers what is wrong while the rest is still being looked at.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Texts that are put out of every message: those who check a value quote it.
    hidden: Vec<String>,
}

impl Findings {
    /// Keeps a text out of all messages.
    pub(crate) fn hide(&mut self, text: &str) {
        if text.trim().len() >= HIDDEN_BYTES {
            self.hidden.push(text.trim().to_owned());
        }
    }

    pub(crate) fn error(&mut self, at: &At, key: impl Into<String>, message: impl Into<String>) {
        self.errors.push(Problem { at: at.clone(), key: key.into(), message: message.into() });
    }

    pub(crate) fn warn(&mut self, at: &At, key: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Problem { at: at.clone(), key: key.into(), message: message.into() });
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The value, or nothing with an error noted.
    pub(crate) fn keep<T>(&mut self, at: &At, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.error(at, key, message)).ok()
    }

    /// Ends the gathering: the warnings, or everything if there is an error.
    pub(crate) fn finish(mut self, file: &str) -> Result<Vec<Problem>, ConfigErrors> {
        // The longest first, so that none leaves a part of another.
        self.hidden.sort_by_key(|text| std::cmp::Reverse(text.len()));
        for list in [&mut self.errors, &mut self.warnings] {
            for problem in list.iter_mut() {
                problem.message = self.hidden.iter().fold(std::mem::take(&mut problem.message), |m, text| m.replace(text, "***"));
            }
            list.sort();
            list.dedup();
        }
        if self.errors.is_empty() {
            return Ok(self.warnings);
        }
        Err(ConfigErrors { file: file.to_owned(), errors: self.errors, warnings: self.warnings })
    }
}
