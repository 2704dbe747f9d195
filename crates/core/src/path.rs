//! Object paths: where an attachment is put below the store's root.
//!
//! Owns the rules that make a hostile name harmless and keep different URLs apart, and the `--path` template.
//! Does not know what stands in the store: a path that is taken is the store's business (it adds the content's digest).
//!
//! Always true of a path made here: components are separated by `/`, none is empty, `.` or `..`, none holds a control
//! character, `/` or `\`, none is longer than [`COMPONENT_BYTES`], none ends in a dot or a space, none starts with
//! `.longshore` (ours), and the whole is no longer than [`PATH_BYTES`]. Sanitising twice changes nothing.

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use url::Url;
use uuid::Uuid;

use crate::format::Columns;

/// The longest component, in bytes of UTF-8. File systems take 255; the rest is room for a temporary name.
pub const COMPONENT_BYTES: usize = 200;
/// The longest path, in bytes of UTF-8: what S3 takes as a key.
pub const PATH_BYTES: usize = 1024;
/// As long as most paths are, in bytes.
const USUAL_BYTES: usize = 160;
/// The longest text after the last dot that counts as an extension, in bytes.
const EXTENSION_BYTES: usize = 16;
/// Components that start like this belong to Longshore itself.
const RESERVED: &str = ".longshore";

/// Makes one harmless component of any text. An empty one becomes `_`. One that is too long loses the end of its stem,
/// keeps its extension and gets the first 8 hex digits of its SHA-256, so that different texts stay different.
pub fn component(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { made_harmless(text) }
}

/// Whether a text is a harmless component as it stands: printable ASCII, as nearly all are. The others are looked at
/// character by character.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    // Without a way out half-way the compiler looks at many bytes at once.
    let printable = bytes.iter().fold(true, |so_far, b| so_far & matches!(b, b' '..=b'~') & (*b != b'/') & (*b != b'\\'));
    printable && bytes.len() <= COMPONENT_BYTES && !matches!(first, b' ' | b'.') && !matches!(last, b' ' | b'.')
}

fn made_harmless(text: &str) -> String {
    let clean: String = text.chars().map(|c| if is_harmful(c) { '_' } else { c }).collect();
    let clean = clean.trim().trim_end_matches(is_loose_end);
    let mut name = match clean.len() {
        0 => "_".to_string(),
        len if len > COMPONENT_BYTES => cut(clean, &format!("~{}", hex(clean, 8)), COMPONENT_BYTES),
        _ => clean.to_string(),
    };
    if name.get(..RESERVED.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED)) {
        name.replace_range(..1, "_");
    }
    name
}

/// Makes a harmless path of any text: empty components are dropped, the others go through [`component`], and what is
/// too long loses components in the middle for a digest of the whole.
pub fn sanitise(path: &str) -> String {
    sanitised(Cow::Borrowed(path))
}

fn sanitised(path: Cow<'_, str>) -> String {
    if path.len() <= PATH_BYTES && path.split('/').all(is_plain) {
        return path.into_owned();
    }
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(component).collect();
    match parts.len() {
        0 => "_".to_string(),
        _ => bounded(&parts),
    }
}

/// Whether [`sanitise`] leaves the path as it is.
pub fn is_sanitised(path: &str) -> bool {
    sanitise(path) == path
}

/// The path with `suffix` put before the extension of its last component, whose stem is cut if need be.
/// The suffix is at most 66 bytes of plain characters.
pub fn with_suffix(path: &str, suffix: &str) -> String {
    let mut parts: Vec<String> = path.split('/').map(str::to_string).collect();
    if let Some(name) = parts.last_mut() {
        *name = cut(name, suffix, COMPONENT_BYTES);
    }
    bounded(&parts)
}

/// The text after the last dot of a name, if it is 1 to 16 letters and digits and something stands before the dot.
pub fn extension(name: &str) -> Option<&str> {
    let (stem, end) = name.rsplit_once('.')?;
    let plain = (1..=EXTENSION_BYTES).contains(&end.len()) && end.bytes().all(|b| b.is_ascii_alphanumeric());
    (plain && !stem.is_empty()).then_some(end)
}

/// Decodes the percent escapes of a URL path segment once; where the result is not UTF-8 the segment stays as it is.
pub fn percent_decoded(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| segment.get(at + 1..at + 3)).flatten();
        let value =
            escape.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).unwrap_or_else(|_| segment.to_string())
}

/// What a URL says about where its file belongs. All parts are sanitised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UrlParts {
    /// The host in lower case, with `_` and the port if that is not the scheme's own: `example.com`, `example.com_8080`.
    /// The brackets of an IPv6 address are dropped and its colons become `_`.
    pub host: String,
    /// The decoded path below the host, never empty: the last component is [`name`](Self::name).
    pub path: String,
    /// The last component: `index` where the URL's path ends in `/`. Where the URL has a query, `~` and the first 8 hex
    /// digits of the query's SHA-256 stand before the extension.
    pub name: String,
    /// The extension of the name in lower case, or nothing.
    pub ext: String,
}

impl UrlParts {
    /// Reads a URL whose signature parameters have been dropped already (its identity), so that a re-signed URL has
    /// the same path. Returns nothing if it does not parse or has no host.
    pub fn of(identity: &str) -> Option<Self> {
        let url = Url::parse(identity).ok()?;
        let host = host_component(&url)?;
        let segments: Vec<&str> = url.path().trim_start_matches('/').split('/').collect();
        let (last, parents) = segments.split_last()?;
        let last = if last.is_empty() { "index".to_string() } else { component(&percent_decoded(last)) };
        let name = match url.query().filter(|query| !query.is_empty()) {
            Some(query) => cut(&last, &format!("~{}", hex(query, 8)), COMPONENT_BYTES),
            None => last,
        };
        let mut parts: Vec<String> = parents.iter().filter(|p| !p.is_empty()).map(|p| component(&percent_decoded(p))).collect();
        parts.push(name.clone());
        Some(UrlParts { host, path: bounded(&parts), ext: extension(&name).unwrap_or_default().to_ascii_lowercase(), name })
    }

    /// The path of the preset `urls`: `{host}/{path}`.
    pub fn object_path(&self) -> String {
        sanitise(&format!("{}/{}", self.host, self.path))
    }
}

/// What a path template may be filled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFields<'a> {
    /// What the URL says.
    pub url: UrlParts,
    /// The attachment's id.
    pub media_id: Uuid,
    /// The event's id.
    pub trace_id: &'a str,
    /// The partition's day, `YYYY-MM-DD`.
    pub event_date: &'a str,
    /// The name that the preset makes of the file, or the event gives.
    pub file_name: Option<&'a str>,
    /// Further columns by name; one that is missing or empty counts as `unknown`.
    pub columns: &'a Columns,
}

/// The field that is a preset's or an event's name of the file.
pub(crate) const FILE_NAME: &str = "filename";
/// The fields that every template knows.
pub(crate) const FIELDS: [&str; 7] = ["host", "path", "name", "ext", "media_id", "trace_id", "event_date"];

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(String),
}

/// A path template: text with `{fields}`. `{{` and `}}` stand for the braces themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    pieces: Vec<Piece>,
}

impl PathTemplate {
    /// Reads a template of the fields that every source has: `{host}`, `{path}`, `{name}`, `{ext}`, `{media_id}`,
    /// `{trace_id}`, `{event_date}`. The error says what is wrong and what is known.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_with(text, &[])
    }

    /// Reads a template that may use further columns as well.
    pub fn parse_with(text: &str, columns: &[&str]) -> Result<Self, String> {
        let pieces = pieces(text)?;
        let fields = || pieces.iter().filter_map(|p| if let Piece::Field(name) = p { Some(name.as_str()) } else { None });
        if let Some(unknown) = fields().find(|name| !FIELDS.contains(name) && !columns.contains(name)) {
            let known: Vec<String> = FIELDS.iter().chain(columns).map(|name| format!("{{{name}}}")).collect();
            return Err(format!(
                "the path template '{text}' uses {{{unknown}}}, which is not a field; known are {}",
                known.join(", ")
            ));
        }
        if fields().next().is_none() {
            return Err(format!(
                "the path template '{text}' has no field, so that all files would get one path; try '{{host}}/{{path}}'"
            ));
        }
        Ok(PathTemplate { pieces })
    }

    /// Whether the template names this field or column.
    pub fn uses(&self, field: &str) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Field(name) if name == field))
    }

    /// Fills the template in. Only `{path}` brings `/` along; in other values it becomes `_`. The result is sanitised.
    pub fn render(&self, fields: &PathFields<'_>) -> String {
        let mut filled = String::with_capacity(USUAL_BYTES);
        self.pieces.iter().for_each(|piece| piece.write(fields, &mut filled));
        sanitised(Cow::Owned(filled))
    }
}

impl Piece {
    fn write(&self, fields: &PathFields<'_>, to: &mut String) {
        let mut id = Uuid::encode_buffer();
        let value = match self {
            Piece::Literal(text) => return to.push_str(text),
            Piece::Field(name) => match (name.as_str(), fields.file_name) {
                ("path", _) => return to.push_str(&fields.url.path),
                ("host", _) => &fields.url.host,
                ("name", _) => &fields.url.name,
                ("ext", _) => &fields.url.ext,
                ("media_id", _) => &*fields.media_id.hyphenated().encode_lower(&mut id),
                ("trace_id", _) => fields.trace_id,
                ("event_date", _) => fields.event_date,
                (FILE_NAME, Some(file_name)) => file_name,
                (other, _) => fields.columns.get(other).map_or("", String::as_str),
            },
        };
        match value {
            plain if is_plain(plain) => to.push_str(plain),
            blank if blank.trim().is_empty() => to.push_str("unknown"),
            other => to.push_str(&made_harmless(other)),
        }
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if chars.next_if_eq(&c).is_some() => literal.push(c),
            '{' => {
                let name: String = std::iter::from_fn(|| chars.next_if(|c| *c != '}' && *c != '{')).collect();
                if chars.next() != Some('}') {
                    return Err(format!(
                        "the path template '{text}' has a '{{' without its '}}'; write '{{{{' for a brace itself"
                    ));
                }
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                pieces.push(Piece::Field(name.trim().to_string()));
            }
            '}' => {
                return Err(format!("the path template '{text}' has a '}}' without its '{{'; write '}}}}' for a brace itself"));
            }
            c => literal.push(c),
        }
    }
    pieces.push(Piece::Literal(literal));
    Ok(pieces)
}

fn host_component(url: &Url) -> Option<String> {
    let host = url.host_str()?.trim_matches(['[', ']', '.']).to_ascii_lowercase().replace(':', "_");
    let host = if host.is_empty() { return None } else { component(&host) };
    Some(url.port().map_or(host.clone(), |port| cut(&host, "", COMPONENT_BYTES - 6) + &format!("_{port}")))
}

/// Control characters, separators, and the marks that make a terminal show a name in another order than it has
/// (Unicode TR 36 §3.2).
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '/' | '\\' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn is_loose_end(c: char) -> bool {
    c == '.' || c.is_whitespace()
}

/// `name` with `tag` before its extension, at most `room` bytes, cut at the end of the stem.
fn cut(name: &str, tag: &str, room: usize) -> String {
    let end = extension(name).map_or(0, |e| e.len() + 1);
    let (stem, end) = name.split_at(name.len() - end);
    let mut keep = stem.len().min(room.saturating_sub(tag.len() + end.len()));
    while !stem.is_char_boundary(keep) {
        keep -= 1;
    }
    let stem = if keep < stem.len() { stem[..keep].trim_end_matches(is_loose_end) } else { stem };
    format!("{stem}{tag}{end}")
}

/// Joins sanitised components; a path that is too long keeps its first and last components, with a digest between.
fn bounded(parts: &[String]) -> String {
    let whole = parts.join("/");
    if whole.len() <= PATH_BYTES {
        return whole;
    }
    let last = &parts[parts.len() - 1];
    let digest = format!("~{}", hex(&whole, 16));
    let mut path = String::new();
    for part in &parts[..parts.len() - 1] {
        if path.len() + part.len() + digest.len() + last.len() + 3 > PATH_BYTES {
            break;
        }
        path = path + part + "/";
    }
    path + &digest + "/" + last
}

/// The first `digits` hex digits of the text's SHA-256.
fn hex(text: &str, digits: usize) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(digits.div_ceil(2)).map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
