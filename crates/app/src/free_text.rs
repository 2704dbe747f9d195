//! URLs inside other text lose their secrets.

use longshore_core::policy::redact::redact_url;

/// What ends a URL in a text, beside white space.
const ENDS: [char; 5] = ['"', '\'', '<', '>', '\\'];

/// The same text with every URL redacted. A comma ends a URL only where another URL follows it, since a comma may be
/// a part of one, before its signature.
pub(crate) fn redact_urls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = begin_of_url(rest) {
        let (before, url) = rest.split_at(begin);
        let (url, after) = url.split_at(end_of_url(url));
        shown.push_str(before);
        shown.push_str(&redact_url(url));
        rest = after;
    }
    shown + rest
}

/// Where the first scheme begins.
fn begin_of_url(text: &str) -> Option<usize> {
    let colon = text.find("://")?;
    let in_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    Some(text[..colon].rfind(|c| !in_scheme(c)).map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8)))
}

fn end_of_url(url: &str) -> usize {
    let end = url.find(|c: char| c.is_whitespace() || ENDS.contains(&c)).unwrap_or(url.len());
    let comma = url[..end].match_indices(',').map(|(at, _)| at).find(|at| {
        let next = url[at + 1..end].trim_start();
        begin_of_url(next) == Some(0) && !next.starts_with("://")
    });
    comma.unwrap_or(end).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_url_in_a_text_is_redacted_and_the_rest_is_kept() {
        for (text, shown) in [
            ("no url, at all", "no url, at all"),
            ("see https://u:p@h/a?token=abc now", "see https://h/a?token=REDACTED now"),
            ("https://h/1?token=a,https://h/2?token=b", "https://h/1?token=REDACTED,https://h/2?token=REDACTED"),
            (r#"{"url": "https://u:p@h/a?token=abc", "n": 1,"#, r#"{"url": "https://h/a?token=REDACTED", "n": 1,"#),
            ("ü://", "ü://"),
            ("://://", "://://"),
        ] {
            assert_eq!(redact_urls(text), shown, "{text}");
        }
    }

    #[test]
    fn a_comma_in_a_url_hides_no_signature() {
        let shown = redact_urls("https://h/a?x=1,2&token=secret, https://h/b,c?token=secret");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
