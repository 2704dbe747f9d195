//! Texts that nobody may read.

use std::fmt;

/// A password, a token, or another text that appears in no log, message, page or error (promise 9): all that is ever
/// shown of it is that it is hidden.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// What is shown in its place.
const HIDDEN: &str = "[hidden]";

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text, for whoever must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new("5ec2e7");
        let shown = format!("{secret} {secret:?} {:#?}", vec![("Authorization", secret.clone())]);
        assert!(!shown.contains("5ec2e7") && shown.contains(HIDDEN), "{shown}");
        assert_eq!(secret.expose(), "5ec2e7");
    }
}
