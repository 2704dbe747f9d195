//! What a source may fetch, and with which headers.

use ipnet::IpNet;
use longshore_core::file_type::FileTypes;
use longshore_core::policy::Policy;
use longshore_core::policy::url::HostPattern;

use crate::config::problem::Findings;
use crate::config::typed::{Section, Spot};

/// The headers that the origin sets itself (RFC 9110 §7.2, §10.1; the encoding decides what is stored).
const OWN_HEADERS: [&str; 10] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "accept-encoding",
    "te",
    "upgrade",
    "expect",
    "range",
    "if-range",
];
/// An extension is at most this long.
const EXTENSION_CHARS: usize = 16;

pub(super) fn policy(section: &Section, found: &mut Findings) -> Policy {
    let ports = section.numbers("allow_ports");
    Policy {
        allow_hosts: hosts(section, found),
        allow_http: section.flag("allow_http"),
        allow_ports: ports.map(|ports| ports.iter().filter_map(|(_, port)| u16::try_from(*port).ok()).collect()),
        allow_private: networks(section, "allow_private", found),
        max_redirects: u32::try_from(section.number("max_redirects").unwrap_or_default()).unwrap_or(u32::MAX),
        allow_cross_host_redirects: section.flag("cross_host_redirects"),
        max_size: section.number("max_size"),
    }
}

fn hosts(section: &Section, found: &mut Findings) -> Option<Vec<HostPattern>> {
    let spots = section.texts("allow_hosts")?;
    let path = section.path_of("allow_hosts");
    let parsed = spots.iter().enumerate().filter_map(|(n, spot)| found.keep(&spot.at, &format!("{path}[{n}]"), pattern(spot)));
    Some(parsed.collect())
}

/// The key `host`.
pub(super) fn host(section: &Section, found: &mut Findings) -> Option<HostPattern> {
    let spot = section.text("host")?;
    found.keep(&spot.at, &section.path_of("host"), pattern(spot))
}

fn pattern(spot: &Spot) -> Result<HostPattern, String> {
    if spot.text.contains("://") {
        return Err(format!("'{}' is a URL; name the host alone, for example files.example.com", spot.shown));
    }
    spot.text.parse().map_err(|error: longshore_core::policy::url::HostPatternError| error.to_string())
}

/// Networks that may be dialled although they are private.
pub(super) fn networks(section: &Section, name: &str, found: &mut Findings) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (n, spot) in section.texts(name).unwrap_or_default().iter().enumerate() {
        let path = format!("{}[{n}]", section.path_of(name));
        let Some(network) = found.keep(&spot.at, &path, network(spot)) else { continue };
        if network.prefix_len() == 0 {
            let message = format!(
                "{network} lets events reach every private address, this machine and its cloud's metadata among them; name the networks that you mean"
            );
            found.warn(&spot.at, path, message);
        }
        networks.push(network);
    }
    networks
}

fn network(spot: &Spot) -> Result<IpNet, String> {
    let text = spot.text.trim();
    let single = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    let wrong = |_| format!("'{}' is not a network; write for example 10.0.0.0/8, or 127.0.0.1/32 for one address", spot.shown);
    text.parse().or_else(|_| single()).map_err(wrong)
}

/// The types of files that may be stored, where they are named.
pub(super) fn file_types(section: &Section, found: &mut Findings) -> Option<FileTypes> {
    let spots = section.texts("file_types")?;
    let path = section.path_of("file_types");
    for (n, spot) in spots.iter().enumerate() {
        let bare = spot.text.trim().trim_start_matches('.');
        let plain = (1..=EXTENSION_CHARS).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_alphanumeric());
        if !plain {
            found.error(
                &spot.at,
                format!("{path}[{n}]"),
                format!("'{}' is not a file extension; write for example pdf", spot.shown),
            );
        } else if bare.eq_ignore_ascii_case("any") && spots.len() > 1 {
            found.error(&spot.at, format!("{path}[{n}]"), "'any' stands alone; remove it or the others");
        }
    }
    let any = spots.iter().any(|spot| spot.text.eq_ignore_ascii_case("any"));
    Some(if any { FileTypes::any() } else { FileTypes::only(spots.iter().map(|spot| &spot.text)) })
}

/// Request headers, checked so that none can smuggle another.
pub(super) fn headers(section: &Section, name: &str, found: &mut Findings) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (header, at, spot) in section.map(name) {
        let path = format!("{}.{header}", section.path_of(name));
        if spot.text.trim().chars().any(char::is_control) {
            found.error(&spot.at, path, "the value holds a control character, for example a line break; put it on one line");
            continue;
        }
        match wrong_name(header, &headers) {
            Some(message) => found.error(at, path, message),
            None => headers.push((header.clone(), spot.text.trim().to_owned())),
        }
    }
    headers
}

fn wrong_name(header: &str, before: &[(String, String)]) -> Option<&'static str> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if header.is_empty() || !header.chars().all(token) {
        return Some("is not a header name; take letters, digits and '-'");
    }
    if OWN_HEADERS.iter().any(|own| header.eq_ignore_ascii_case(own)) {
        return Some("is a header that Longshore sets itself; remove it");
    }
    let twice = before.iter().any(|(other, _)| other.eq_ignore_ascii_case(header));
    twice.then_some("is the same header in other capitals; keep one of them")
}
