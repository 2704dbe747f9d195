//! The name under which a host's downloads are counted.

use std::borrow::Cow;

/// The part of a URL that names its host and port, spelled in one way: lower case, without user, password, the
/// scheme's own port, or a dot at the end. An IPv6 address keeps its brackets.
pub fn authority(url: &str) -> Cow<'_, str> {
    let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
    let rest = match own_port(scheme) {
        Some(_) => rest.trim_start_matches(['/', '\\']),
        None => url.split_once("://").map_or(url, |(_, rest)| rest),
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or(rest);
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = split_port(host_and_port);
    let host = host.strip_suffix('.').unwrap_or(host);
    let port = port.filter(|port| !port.is_empty() && own_port(scheme) != Some(*port));
    match port {
        Some(port) if host.len() + 1 + port.len() == host_and_port.len() => lower(host_and_port),
        Some(port) => Cow::Owned(format!("{}:{port}", lower(host))),
        None => lower(host),
    }
}

fn own_port(scheme: &str) -> Option<&'static str> {
    match scheme {
        s if s.eq_ignore_ascii_case("https") => Some("443"),
        s if s.eq_ignore_ascii_case("http") => Some("80"),
        _ => None,
    }
}

fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => (host, Some(port)),
        _ => (text, None),
    }
}

fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_name_however_it_is_spelled() {
        for (name, urls) in [
            ("h.example:8443", &["https://u:p@h.example:8443/a@b", "https://H.example.:8443?x", "h.example:8443/z"][..]),
            ("h.example", &["https://h.example/a", "HTTPS://H.EXAMPLE:443#y", "http://h.example.:80", "https:\\\\h.example:/b"]),
            ("h.example:80", &["https://h.example:80/"]),
            ("h.example:443", &["http://h.example:443/"]),
            ("[::1]", &["https://[::1]:443/", "http://[::1]/a"]),
            ("[fd00::a]:8080", &["http://u@[FD00::A]:8080/"]),
            ("", &["", "https://", "https:///"]),
        ] {
            for url in urls {
                assert_eq!(authority(url), name, "{url}");
            }
        }
    }

    #[test]
    fn the_usual_spelling_is_not_copied() {
        assert!(matches!(authority("https://files.example.com:8443/a.pdf"), Cow::Borrowed(_)));
    }
}
