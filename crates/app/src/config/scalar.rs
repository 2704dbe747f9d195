//! Single values: from a text to what its key takes. Errors say what is expected, with an example.

use super::keys::{Kind, spell_ms, spell_size};
use super::suggest::nearest;
use crate::settings;

/// Reads `true` or `false`.
pub(super) fn flag(text: &str, shown: &str) -> Result<bool, String> {
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => Err(format!("{} is neither true nor false; write true or false", quoted(shown))),
    }
}

/// Checks that a word is one of those that are known.
pub(super) fn choice(text: &str, shown: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&text) {
        return Ok(());
    }
    let hint = nearest(text, words.iter().copied()).map(|word| format!("; did you mean {word}?")).unwrap_or_default();
    Err(format!("{} is not known here; known are {}{hint}", quoted(shown), words.join(", ")))
}

/// Reads a number, time or size of this kind and keeps its bounds.
pub(super) fn number(text: &str, shown: &str, kind: Kind) -> Result<u64, String> {
    let (number, least, most, spell): (u64, u64, u64, fn(u64) -> String) = match kind {
        Kind::Integer(least, most) | Kind::Integers(least, most) => {
            let number = text
                .trim()
                .parse()
                .map_err(|_| format!("{} is not a whole number; write one from {least} to {most}", quoted(shown)))?;
            (number, least, most, |n| n.to_string())
        }
        Kind::Time(least, most) | Kind::Times(least, most) => {
            let wrong = |_| format!("{} is not a time; write for example 500ms, 5s, 10m or 1h", quoted(shown));
            let time = settings::parse_duration(text).map_err(wrong)?;
            (u64::try_from(time.as_millis()).unwrap_or(u64::MAX), least, most, spell_ms)
        }
        Kind::Size(least, most) => {
            let wrong = |_| format!("{} is not a size; write for example 500KB, 20MiB or 2GB", quoted(shown));
            (settings::parse_size(text).map_err(wrong)?, least, most, spell_size)
        }
        _ => return Err("takes no number".to_owned()),
    };
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(format!("{} is out of bounds; take {} to {}", quoted(shown), spell(least), spell(most)))
}

/// A text in an error: cut, on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    format!("'{short}'")
}
