//! Origins (scheme, host, port) that a policy has allowed, so that the URLs of one host are not parsed one by one.
//!
//! Only where it cannot make a difference: the text up to the path is the same, letter by letter, and was parsed and allowed
//! before; what follows is of characters that the URL standard leaves as they are, with no segment that it would resolve.
//! All other URLs are parsed, always by the one parser, and so is every URL before it is dialled.

use std::sync::OnceLock;

use super::url::MAX_URL_BYTES;

/// How many origins are remembered.
const ORIGINS: usize = 16;

/// Origins that one policy has allowed: the first of all. To look costs no lock, which threads would hand to and fro.
#[derive(Debug, Default)]
pub struct Known([OnceLock<Box<str>>; ORIGINS]);

/// What follows the origin of a URL, as the URL standard has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rest<'a> {
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
}

impl Known {
    /// What follows the origin, where that is known and the rest is plain.
    pub(crate) fn rest<'a>(&self, url: &'a str) -> Option<Rest<'a>> {
        let (origin, rest) = split(url)?;
        let rest = plain(rest)?;
        self.0.iter().map_while(OnceLock::get).any(|known| **known == *origin).then_some(rest)
    }

    /// Notes the origin of a URL that the policy has allowed.
    pub(crate) fn note(&self, url: &str) {
        let Some((origin, _)) = split(url) else { return };
        // Takes the first free place; there may be none.
        let _ = self.0.iter().any(|known| **known.get_or_init(|| origin.into()) == *origin);
    }
}

/// Splits before the path, if the scheme and the authority are as plain as they can be: no userinfo, no brackets, no escapes.
fn split(url: &str) -> Option<(&str, &str)> {
    let scheme = ["https://", "http://"].into_iter().find(|scheme| url.starts_with(scheme))?.len();
    let length = url.as_bytes()[scheme..].iter().position(|b| !is_of_host(*b))?;
    (length > 0 && url.len() <= MAX_URL_BYTES).then(|| url.split_at(scheme + length)).filter(|(_, rest)| rest.starts_with('/'))
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':')
}

fn plain(rest: &str) -> Option<Rest<'_>> {
    let is_left_alone = |b: &u8| PLAIN[usize::from(*b)];
    if !rest.as_bytes().iter().all(is_left_alone) {
        return None;
    }
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    // A segment that begins like this may be `.` or `..`, in one of their spellings.
    let resolved = path.as_bytes().windows(2).any(|pair| matches!(pair, b"/." | b"/%"));
    (!resolved).then_some(Rest { path, query })
}

/// Characters that stay as they are in a path and in a query (URL Standard §1.3), and mean nothing else there.
const PLAIN: [bool; 256] = {
    let (mut plain, mut at) = ([false; 256], 0);
    while at < 128 {
        let byte = at as u8;
        plain[at] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b'!' | b'$' | b'&' | b'(' | b')' | b'*' | b'+' | b',')
            || matches!(byte, b';' | b'=' | b':' | b'@' | b'%' | b'?');
        at += 1;
    }
    plain
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn known() -> Known {
        let known = Known::default();
        ["https://h.example/a", "http://127.0.0.1:8080/", "https://H/x"].iter().for_each(|url| known.note(url));
        known
    }

    #[test]
    fn a_plain_url_of_a_known_origin_needs_no_parser() {
        let known = known();
        let rest = |path, query| Some(Rest { path, query });
        assert_eq!(
            known.rest("https://h.example/b/c.pdf?X-Amz-Date=2026&s=a%2Fb"),
            rest("/b/c.pdf", Some("X-Amz-Date=2026&s=a%2Fb"))
        );
        assert_eq!(known.rest("http://127.0.0.1:8080/"), rest("/", None));
        assert_eq!(known.rest("https://h.example/a?"), rest("/a", Some("")));
    }

    #[test]
    fn whatever_may_mean_something_else_is_parsed() {
        let known = known();
        for url in [
            "http://h.example/a",
            "https://other/a",
            "https://h.example",
            "https://h.example?a",
            "https://h.example\\@other/a",
            "https://h.example@other/a",
            "https://h.example:443/a",
            "https:///h.example/a",
            "HTTPS://h.example/a",
            " https://h.example/a",
            "https://h.example/a/../b",
            "https://h.example/%2e%2e/b",
            "https://h.example/.%2E/b",
            "https://h.example/a b",
            "https://h.example/a\\b",
            "https://h.example/a#b",
            "https://h.example/\u{e4}",
            "https://h.example/a?b'c",
            "https://h.example/a\tb",
        ] {
            assert_eq!(known.rest(url), None, "{url}");
        }
    }

    #[test]
    fn only_so_many_are_remembered() {
        let known = Known::default();
        for odd in ["https:///a", "https://u@h/a", "https://[::1]/a", "https://h", "ftp://h/a"] {
            known.note(odd);
        }
        (0..=ORIGINS).for_each(|n| known.note(&format!("https://h{n}/")));
        let is_known = |n: usize| known.rest(&format!("https://h{n}/a")).is_some();
        assert!((0..ORIGINS).all(is_known), "none of the odd ones took a place");
        assert!(!is_known(ORIGINS));
    }

    proptest! {
        #[test]
        fn the_parser_would_have_said_the_same(origin in "https?://[a-z.:@/\\\\0-9-]{0,12}", rest in "[/a-c.%2eE?&=#' \\\\~\u{e4}-]{0,16}") {
            let (url, known) = (format!("{origin}{rest}"), Known::default());
            let Ok(first) = Url::parse(&url) else { return Ok(()) };
            known.note(&url);
            for url in [url.clone(), format!("{url}/../x"), format!("{url}.pdf"), format!("{url}@other/"), format!("{url}?q=1")] {
                if let Some(rest) = known.rest(&url) {
                    let parsed = Url::parse(&url).expect("what follows the origin is plain");
                    prop_assert_eq!((parsed.path(), parsed.query()), (rest.path, rest.query));
                    prop_assert_eq!(parsed.origin(), first.origin());
                    prop_assert_eq!((parsed.username(), parsed.password()), ("", None));
                }
            }
        }
    }
}
