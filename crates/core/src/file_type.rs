//! The file-type rule: the extension, the declared type and the first bytes of a body must agree with what is allowed.
//!
//! Owns the list of types, the sniffing and the verdict. Reads nothing itself: the caller hands over the URL's path and
//! query before contact, and the first [`SNIFF_BYTES`] of the body before anything becomes visible.
//!
//! Lenient where senders are sloppy and nothing is at stake (a PNG named `.jpg` when both are allowed), strict where it
//! matters: text or an HTML error page under the name of a binary format is refused. Without a list nothing is refused.

use std::collections::BTreeSet;

use crate::outcome::{Class, Failure, Reason};
use crate::path::{extension, percent_decoded};

/// How many bytes of a body the verdict needs, or all of a shorter one.
pub const SNIFF_BYTES: usize = 8 * 1024;

/// The types that the preset `xact` allows.
pub const XACT_TYPES: [&str; 22] = [
    "pdf", "xml", "txt", "csv", "json", "html", "htm", "xls", "xlsx", "doc", "docx", "esx", "jpg", "jpeg", "png", "gif", "bmp",
    "tiff", "tif", "webp", "mov", "mp4",
];

/// Extensions whose content has no magic bytes.
const WITHOUT_MAGIC: [&str; 14] =
    ["txt", "csv", "tsv", "json", "ndjson", "xml", "html", "htm", "esx", "md", "log", "yaml", "yml", "eml"];

/// Sniffed types that are text.
const MARKUP: [&str; 2] = ["html", "xml"];

/// Office documents of 1997, and encrypted ones of any year, are compound files, as are messages and installers.
const COMPOUND: &str = "ole";
const COMPOUND_EXTENSIONS: [&str; 9] = ["doc", "xls", "ppt", "docx", "xlsx", "pptx", "msg", "msi", "esx"];

/// Formats that are zip archives, whose first bytes do not always tell which.
const ZIPPED: [&str; 10] = ["docx", "xlsx", "pptx", "odt", "ods", "odp", "epub", "esx", "jar", "kmz"];

/// Names of one thing, and families whose members are told apart badly by their first bytes (ISO base media files).
const FAMILIES: [&[&str]; 5] = [
    &["jpg", "jpeg", "jpe", "jfif"],
    &["tif", "tiff"],
    &["htm", "html", "xhtml"],
    &["mp4", "mov", "m4v", "m4a", "3gp", "qt"],
    &["heic", "heif", "avif"],
];

/// The declared types that we know, and their extensions.
const DECLARED: [(&str, &str); 30] = [
    ("application/pdf", "pdf"),
    ("application/xml", "xml"),
    ("text/xml", "xml"),
    ("text/csv", "csv"),
    ("application/json", "json"),
    ("text/html", "html"),
    ("application/xhtml+xml", "html"),
    ("text/plain", "txt"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
    ("application/msword", "doc"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.ms-powerpoint", "ppt"),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", "pptx"),
    ("application/zip", "zip"),
    ("application/gzip", "gz"),
    ("image/jpeg", "jpg"),
    ("image/jpg", "jpg"),
    ("image/png", "png"),
    ("image/gif", "gif"),
    ("image/bmp", "bmp"),
    ("image/tiff", "tif"),
    ("image/webp", "webp"),
    ("image/svg+xml", "svg"),
    ("image/heic", "heif"),
    ("video/quicktime", "mov"),
    ("video/mp4", "mp4"),
    ("audio/mpeg", "mp3"),
    ("application/rtf", "rtf"),
    ("application/x-msdownload", "exe"),
];

/// What is known of an accepted file's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTypeVerdict {
    /// The extension in upper case, or `UNKNOWN`: the column `file_type`.
    pub file_type: String,
    /// What is wrong with it, where that is a warning and no refusal.
    pub warned: Option<String>,
}

/// What to do with a file whose content or declared type is not what may be stored under its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMismatch {
    /// It is not stored.
    #[default]
    Reject,
    /// It is stored, its `file_type` what its extension says, and the verdict tells of it.
    Warn,
}

/// The types that may be stored, as lower-case extensions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileTypes {
    /// The extensions, or nothing where any type may be stored.
    pub allowed: Option<BTreeSet<String>>,
    /// What to do when the content disagrees. An extension that is not allowed is always refused, before contact.
    pub on_mismatch: OnMismatch,
}

impl FileTypes {
    /// Any type.
    pub fn any() -> Self {
        FileTypes::default()
    }

    /// These types only; dots and capitals do not matter (`.PDF`).
    pub fn only<S: AsRef<str>>(types: impl IntoIterator<Item = S>) -> Self {
        let normal = |t: S| t.as_ref().trim().trim_start_matches('.').to_ascii_lowercase();
        let allowed = Some(types.into_iter().map(normal).filter(|t| !t.is_empty()).collect());
        FileTypes { allowed, on_mismatch: OnMismatch::Reject }
    }

    /// The types of the preset `xact`.
    pub fn xact() -> Self {
        FileTypes::only(XACT_TYPES)
    }

    /// The verdict before contact: an extension that is not allowed is rejected. A URL that has none passes, and its
    /// content decides.
    pub fn check_extension(&self, extension: Option<&str>) -> Result<(), Failure> {
        match extension {
            Some(extension) if !self.allows(extension) => {
                let message = format!(
                    "files of the type '{extension}' are not allowed (allowed: {}; file_types, --file-types)",
                    self.listed()
                );
                Err(Failure::new(Class::Rejected, Reason::FileType, message))
            }
            _ => Ok(()),
        }
    }

    /// The verdict on a body, from the extension, the declared type (see [`declared_type`]) and its first
    /// [`SNIFF_BYTES`].
    pub fn check(&self, extension: Option<&str>, declared: Option<&str>, first_bytes: &[u8]) -> Result<FileTypeVerdict, Failure> {
        let mut warned = None;
        if self.allowed.is_some() {
            self.check_extension(extension)?;
            match (self.check_content(extension, declared, first_bytes), self.on_mismatch) {
                (Ok(()), _) => {}
                (Err(failure), OnMismatch::Warn) => warned = Some(failure.message),
                (Err(failure), OnMismatch::Reject) => return Err(failure),
            }
        }
        let file_type = extension.map_or_else(|| "UNKNOWN".to_string(), str::to_ascii_uppercase);
        Ok(FileTypeVerdict { file_type, warned })
    }

    fn check_content(&self, extension: Option<&str>, declared: Option<&str>, first_bytes: &[u8]) -> Result<(), Failure> {
        let refuse = |what: String| {
            let named = extension.map_or_else(|| "a file without an extension".to_string(), |e| format!("a file named '.{e}'"));
            let message = format!("{named} {what} (allowed: {})", self.listed());
            Err(Failure::new(Class::Permanent, Reason::FileType, message))
        };
        let sniffed = sniff(first_bytes);
        match (extension, sniffed) {
            (Some(extension), Some(found)) if agree(extension, found, first_bytes) => Ok(()),
            (Some(extension), Some(found)) if !self.allows(found) || is_error_page(extension, found) => {
                refuse(format!("holds {found}, not {extension}"))
            }
            (Some(_), Some(_)) => Ok(()),
            (Some(extension), None) => match declared {
                Some(declared) if !self.allows(declared) => refuse(format!("is declared to be {declared}")),
                _ if !WITHOUT_MAGIC.contains(&extension) && is_text(first_bytes) => refuse("holds plain text".to_string()),
                _ => Ok(()),
            },
            (None, Some(found)) if !self.allows(found) => refuse(format!("holds {found}")),
            (None, Some(_)) => Ok(()),
            (None, None) => match declared {
                Some(declared) if self.allows(declared) && (WITHOUT_MAGIC.contains(&declared) || !is_text(first_bytes)) => Ok(()),
                Some(declared) => refuse(format!("is declared to be {declared}")),
                None => refuse("holds nothing recognisable".to_string()),
            },
        }
    }

    /// Whether the type or another name of it is allowed.
    fn allows(&self, kind: &str) -> bool {
        let Some(allowed) = &self.allowed else { return true };
        allowed.contains(kind)
            || same_family(kind).iter().any(|name| allowed.contains(*name))
            || (kind == COMPOUND && COMPOUND_EXTENSIONS.iter().any(|name| allowed.contains(*name)))
    }

    fn listed(&self) -> String {
        self.allowed.iter().flatten().cloned().collect::<Vec<_>>().join(", ")
    }
}

/// The extension of what a URL names, in lower case: of the last path segment, else of the query's `filename`, `file` or
/// `name`, in this order.
pub fn extension_of(url_path: &str, query: Option<&str>) -> Option<String> {
    let last = percent_decoded(url_path.rsplit('/').next().unwrap_or_default());
    if let Some(found) = extension(&last) {
        return Some(found.to_ascii_lowercase());
    }
    let pairs: Vec<_> = url::form_urlencoded::parse(query?.as_bytes()).collect();
    let named = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
    let value = ["filename", "file", "name"].into_iter().filter_map(named).find_map(|value| extension(value.trim()))?;
    Some(value.to_ascii_lowercase())
}

/// The extension of a `Content-Type` (RFC 9110 §8.3), its parameters aside. Nothing for an absent, an unknown and an
/// octet-stream type, which say nothing.
pub fn declared_type(content_type: Option<&str>) -> Option<&'static str> {
    let essence = content_type?.split(';').next()?.trim().to_ascii_lowercase();
    DECLARED.iter().find(|(mime, _)| *mime == essence).map(|(_, extension)| *extension)
}

/// The type that the first bytes of a body show, as an extension; `ole` for any compound file. Text that merely starts
/// like a binary format (`BM`, `MZ`, `ID3`) is not taken for one.
pub fn sniff(first_bytes: &[u8]) -> Option<&'static str> {
    let bytes = &first_bytes[..first_bytes.len().min(SNIFF_BYTES)];
    let unmarked = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1]) {
        return Some(COMPOUND);
    }
    if is_pdf(bytes) {
        return Some("pdf");
    }
    let found = infer::get(unmarked)?.extension();
    let told_by_text = MARKUP.contains(&found) || ["rtf", "ps", "sh", "pem"].contains(&found);
    (told_by_text || !is_text(unmarked)).then_some(found)
}

/// Readers accept a PDF whose header stands anywhere in the first 1,024 bytes (ISO 32000-1, annex H.3.4.1).
fn is_pdf(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(1024)].windows(5).any(|five| five == b"%PDF-") && !looks_like_markup(bytes)
}

fn looks_like_markup(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"<")
}

/// Whether what was found is what the extension says.
fn agree(extension: &str, found: &str, bytes: &[u8]) -> bool {
    extension == found
        || same_family(extension).contains(&found)
        || (found == "zip" && ZIPPED.contains(&extension))
        || (found == COMPOUND && COMPOUND_EXTENSIONS.contains(&extension))
        || (["svg", "xhtml", "html", "htm", "kml", "gpx", "rss"].contains(&extension) && found == "xml")
        || (["xml", "svg", "md"].contains(&extension) && found == "html" && !is_html_page(bytes))
}

/// Whether markup stands where something else was promised: most likely a page that says what went wrong.
fn is_error_page(extension: &str, found: &str) -> bool {
    MARKUP.contains(&found) && !["txt", "xml", "html", "htm"].contains(&extension)
}

/// A whole page, not just an element or a comment that XML may start with as well.
fn is_html_page(bytes: &[u8]) -> bool {
    let text = bytes.to_ascii_lowercase();
    [&b"<!doctype html"[..], b"<html", b"<head", b"<body"].iter().any(|tag| text.windows(tag.len()).any(|w| w == *tag))
}

/// UTF-8 without control characters, a last character that is cut off aside; nothing is not text.
fn is_text(bytes: &[u8]) -> bool {
    let bytes = &bytes[..bytes.len().min(SNIFF_BYTES)];
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        Err(_) => return false,
    };
    !valid.is_empty() && !valid.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0c'))
}

fn same_family(kind: &str) -> &'static [&'static str] {
    FAMILIES.into_iter().find(|family| family.contains(&kind)).unwrap_or(&[])
}

#[cfg(test)]
#[path = "file_type_tests.rs"]
mod tests;
