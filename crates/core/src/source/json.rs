//! Reading JSON that strangers wrote: what is refused, and how it is said.
//!
//! No message holds a value of the payload, since values name people. Keys are named, cut short.

use serde_json::error::Category;

use crate::outcome::Failure;
use crate::source::poison;

/// How deep lists and objects may be nested: what serde_json reads without overflowing its stack.
pub(super) const MAX_DEPTH: usize = 127;

/// How much of a key is named in a message, in characters.
const NAMED_CHARS: usize = 80;

/// Says what is wrong with `what`, which is not the JSON that was expected: one sentence, with the place.
pub(super) fn fault(what: &str, error: &serde_json::Error) -> Failure {
    let text = error.to_string();
    let said = text.rsplit_once(" at line ").map_or(text.as_str(), |(said, _)| said);
    let said = match error.classify() {
        _ if said == "recursion limit exceeded" => return too_deep(what),
        Category::Eof => format!("{what} ends too early"),
        Category::Data => match said.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`')) {
            Some(key) => format!("{what} is ambiguous: {}", twice(key)),
            None => format!("{what} is ambiguous: {said}"),
        },
        Category::Syntax | Category::Io => format!("{what} is not JSON: {said}"),
    };
    poison(format!("{said} (line {}, column {})", error.line(), error.column()))
}

/// What is said of a key that an object has two times.
pub(super) fn twice(key: &str) -> String {
    let named: String = key.chars().take(NAMED_CHARS).collect();
    format!("the key `{named}` stands twice")
}

/// Text without the white space and the byte order mark around it.
pub(super) fn text_of<'a>(what: &str, bytes: &'a [u8]) -> Result<&'a str, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|e| poison(format!("{what} is not UTF-8 at byte {}", e.valid_up_to())))?;
    Ok(text.trim().trim_start_matches('\u{feff}').trim_start())
}

/// Refuses what is nested deeper than [`MAX_DEPTH`]. For readers that skip what they do not know, and so never notice.
pub(super) fn check_depth(what: &str, text: &str) -> Result<(), Failure> {
    // Counting alone is several times faster, and settles it for nearly all events.
    let openers = text.bytes().filter(|b| matches!(b, b'{' | b'[')).count();
    if openers <= MAX_DEPTH || deepest(text) <= MAX_DEPTH { Ok(()) } else { Err(too_deep(what)) }
}

fn too_deep(what: &str) -> Failure {
    poison(format!("{what} is nested deeper than {MAX_DEPTH} levels"))
}

fn deepest(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
