//! Attachments in a tree of values: a text, a list of texts, an object or a list of objects.

use jmespath::Variable;

use super::json::{self, filled};
use super::outline::check_count;
use super::{Item, Link};
use crate::outcome::Failure;

/// The keys under which an object may hold the file's name, tried in this order.
const NAME_KEYS: [&str; 3] = ["file_name", "filename", "name"];
/// Said of an entry that is neither a text nor an object.
const ODD_KIND: &str = "an entry in the list of attachments is neither a text nor an object";

/// Reads what an expression found; the flag tells that it is none of these.
///
/// Null and blank URLs are skipped, as in a list of texts. An object *without* the key `url` is a failed row, since
/// it means that the expression looks at the wrong place. An error is a list that is too long.
pub(super) fn items(found: &Variable) -> Result<(Vec<Item>, bool), Failure> {
    Ok(match found {
        Variable::Null => (Vec::new(), false),
        Variable::Array(entries) => {
            check_count(entries.iter().filter(|entry| !entry.is_null()).count())?;
            (entries.iter().filter_map(|entry| item(entry)).collect(), false)
        }
        Variable::String(_) | Variable::Object(_) => (item(found).into_iter().collect(), false),
        _ => (Vec::new(), true),
    })
}

fn item(entry: &Variable) -> Option<Item> {
    match entry {
        Variable::Null => None,
        Variable::String(url) => link(url),
        Variable::Object(members) => match members.get("url").map(|url| &**url) {
            Some(Variable::Null) => None,
            Some(Variable::String(url)) => match link(url)? {
                Item::Url(link) => Some(described(link, entry)),
                odd => Some(odd),
            },
            Some(_) => Some(odd(entry, "the `url` of an attachment is not a text")),
            None => Some(odd(entry, "an attachment has no key `url`")),
        },
        _ => Some(odd(entry, ODD_KIND)),
    }
}

fn link(url: &str) -> Option<Item> {
    let url = url.trim();
    (!url.is_empty()).then(|| Item::Url(Link { url: url.to_owned(), ..Link::default() }))
}

pub(super) fn odd(entry: &Variable, why: &'static str) -> Item {
    Item::Odd { json: entry.to_string(), why }
}

/// Adds what the object says about its file.
fn described(link: Link, entry: &Variable) -> Item {
    let file_name = NAME_KEYS.iter().find_map(|key| filled(&entry.get_field(key)).map(str::to_owned));
    let checksum = entry.get_field("checksum");
    let checksum = match &*checksum {
        Variable::Null => None,
        Variable::String(text) if text.trim().is_empty() => None,
        Variable::String(text) => Some(prefixed(text.trim())),
        other => Some(json::kind(other).to_owned()),
    };
    let Some(headers) = headers(&entry.get_field("headers")) else {
        return odd(entry, "the `headers` of an attachment are not an object of texts");
    };
    Item::Url(Link { file_name, checksum, headers, ..link })
}

/// 64 hex digits alone are a SHA-256. What is none of both forms is left as it is, and refused as a promise that
/// cannot be checked.
fn prefixed(checksum: &str) -> String {
    let bare = checksum.len() == 64 && checksum.bytes().all(|b| b.is_ascii_hexdigit());
    if bare { format!("sha256:{checksum}") } else { checksum.to_owned() }
}

fn headers(value: &Variable) -> Option<Vec<(String, String)>> {
    let members = match value {
        Variable::Null => return Some(Vec::new()),
        other => other.as_object()?,
    };
    let header = |(name, value): (&String, &jmespath::Rcvar)| match &**value {
        Variable::Null => None,
        Variable::String(text) => Some(Some((name.clone(), text.clone()))),
        Variable::Number(number) => Some(Some((name.clone(), number.to_string()))),
        _ => Some(None),
    };
    members.iter().filter_map(header).collect()
}
