//! The table of all keys in `docs/configuration.md`.

use super::keys::{Fallback, KEYS, Key};

/// The table, as Markdown.
pub fn markdown() -> String {
    let mut text = String::from("| key | takes | default | |\n|---|---|---|---|\n");
    for key in KEYS {
        text.push_str(&format!("| `{}` | {} | {} | {} |\n", key.path, key.kind.spelled(), default(key), key.doc));
    }
    text
}

fn default(key: &Key) -> String {
    match key.default {
        Fallback::Is(value) => format!("`{value}`"),
        Fallback::Absent => String::new(),
        Fallback::Depends(words) => words.to_owned(),
        Fallback::Required => "required".to_owned(),
    }
}
