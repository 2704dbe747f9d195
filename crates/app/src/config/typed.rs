//! A configuration whose keys are known and whose values are of their kinds, defaults filled in.

use std::fmt;
use std::time::Duration;

use super::keys::{Key, Kind, Values, spell_ms, spell_size};
use super::problem::At;

/// A text with its place.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) at: At,
    /// The text that counts. It may be a secret.
    pub(crate) text: String,
    /// The text as it may be shown.
    pub(crate) shown: String,
    /// The references that it came by, as written.
    pub(crate) references: Vec<String>,
}

impl fmt::Debug for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown)
    }
}

/// A value of its kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Typed {
    Text(Spot),
    Flag(bool),
    /// A whole number, a time in milliseconds or a size in bytes.
    Number(u64),
    Texts(Vec<Spot>),
    Numbers(Vec<(At, u64)>),
    Map(Vec<(String, At, Spot)>),
    Section(Section),
    Entries(Vec<Section>),
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) key: &'static Key,
    /// Where the value is from.
    pub(crate) at: At,
    pub(crate) value: Typed,
}

/// The keys of a section with their values; those that are absent and have no default are missing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Section {
    /// Where it begins.
    pub(crate) at: At,
    /// Its path as messages name it: `sources[0].refresh`.
    pub(crate) path: String,
    pub(crate) items: Vec<Item>,
    /// Keys that are written, but wrongly: an error is noted, and their absence means nothing.
    pub(crate) wrong: Vec<&'static str>,
}

/// The path of a key in a section.
pub(crate) fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

impl Section {
    pub(crate) fn item(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.key.name() == name)
    }

    /// Whether the key is absent: neither written nor given by default.
    pub(crate) fn lacks(&self, name: &str) -> bool {
        self.item(name).is_none() && !self.wrong.contains(&name)
    }

    /// The path of a key in it, for messages.
    pub(crate) fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Where the key is written, or else the section.
    pub(crate) fn at(&self, name: &str) -> &At {
        self.item(name).map_or(&self.at, |item| &item.at)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&Spot> {
        match &self.item(name)?.value {
            Typed::Text(spot) => Some(spot),
            _ => None,
        }
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.item(name).map(|item| &item.value), Some(Typed::Flag(true)))
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        match self.item(name)?.value {
            Typed::Number(number) => Some(number),
            _ => None,
        }
    }

    /// A number that has a default, as the machine counts.
    pub(crate) fn count(&self, name: &str) -> usize {
        usize::try_from(self.number(name).unwrap_or_default()).unwrap_or(usize::MAX)
    }

    /// A time that has a default.
    pub(crate) fn time(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name).unwrap_or_default())
    }

    pub(crate) fn texts(&self, name: &str) -> Option<&[Spot]> {
        match &self.item(name)?.value {
            Typed::Texts(spots) => Some(spots),
            _ => None,
        }
    }

    pub(crate) fn numbers(&self, name: &str) -> Option<&[(At, u64)]> {
        match &self.item(name)?.value {
            Typed::Numbers(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// A user's own names with their texts; none where it is absent.
    pub(crate) fn map(&self, name: &str) -> &[(String, At, Spot)] {
        match self.item(name).map(|item| &item.value) {
            Some(Typed::Map(entries)) => entries,
            _ => &[],
        }
    }

    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        match &self.item(name)?.value {
            Typed::Section(section) => Some(section),
            _ => None,
        }
    }

    pub(crate) fn entries(&self, name: &str) -> &[Section] {
        match self.item(name).map(|item| &item.value) {
            Some(Typed::Entries(entries)) => entries,
            _ => &[],
        }
    }
}

impl Key {
    /// A number of this key as one writes it.
    pub(crate) fn spell(&self, number: u64) -> String {
        match self.kind {
            Kind::Time(..) | Kind::Times(..) => spell_ms(number),
            Kind::Size(..) => spell_size(number),
            _ => number.to_string(),
        }
    }

    /// Whether a text of this key, under this name if it is a map, may be seen by nobody.
    pub(crate) fn hides(&self, name: &str) -> bool {
        match self.kind {
            Kind::Secret | Kind::Map(Values::Secret) => true,
            Kind::Map(Values::SecretByName) => sounds_secret(name),
            _ => false,
        }
    }
}

/// Whether a header or setting of this name holds a secret by custom.
fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let telling = [
        "auth",
        "cookie",
        "token",
        "secret",
        "password",
        "passphrase",
        "credential",
        "signature",
        "api-key",
        "apikey",
        "api_key",
        "jaas",
    ];
    // `ssl.key.pem` holds a key; the location of one is no secret, nor is the kind of authentication.
    let harmless =
        name.ends_with(".location") || name.ends_with(".url") || name.ends_with(".method") || name.ends_with(".mechanism");
    !harmless && (telling.iter().any(|word| name.contains(word)) || name.ends_with("-key") || name.ends_with("key.pem"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "Authorization",
            "Cookie",
            "X-Api-Key",
            "X-Auth-Token",
            "sasl.password",
            "ssl.key.pem",
            "ssl.key.password",
            "Ocp-Apim-Subscription-Key",
        ] {
            assert!(sounds_secret(name), "{name}");
        }
        for name in ["Accept", "User-Agent", "security.protocol", "sasl.mechanism", "ssl.key.location", "ssl.ca.location"] {
            assert!(!sounds_secret(name), "{name}");
        }
    }
}
