//! Whether a URL may be fetched: scheme, host, port, and the address where the URL names one itself.
//!
//! Ingest asks before it writes a task, the origin asks before each request and each redirect. The text is parsed
//! once, by the URL standard (crate `url`), and what was parsed is what is dialled: there is no second parser to
//! disagree with. Names are not resolved here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::Serialize;
use url::{Host, Url};

use super::address::{self, Ruling};
use super::expiry::{self, expiry};
use super::redact::redact_url;
use crate::outcome::{Class, Failure, Reason};
use crate::time::{self, Micros};

/// The longest URL accepted, in bytes; the least that RFC 9110 §4.1 recommends is 8,000.
pub const MAX_URL_BYTES: usize = 8 * 1024;

/// What a source may fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The hosts that may be asked; any public host when there is no list.
    pub allow_hosts: Option<Vec<HostPattern>>,
    /// Whether `http` is allowed besides `https`.
    pub allow_http: bool,
    /// The ports that may be dialled; any when there is no list.
    pub allow_ports: Option<Vec<u16>>,
    /// Networks that may be dialled although their addresses are not public.
    pub allow_private: Vec<IpNet>,
    /// How many redirects are followed for one request.
    pub max_redirects: u32,
    /// Whether a redirect may lead to another host. Each hop passes this policy in any case.
    pub allow_cross_host_redirects: bool,
    /// The largest body accepted, in bytes; any when nothing.
    pub max_size: Option<u64>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            allow_hosts: None,
            allow_http: false,
            allow_ports: None,
            allow_private: Vec::new(),
            max_redirects: 5,
            allow_cross_host_redirects: true,
            max_size: None,
        }
    }
}

/// A URL that the policy allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The URL as parsed; requests are made from this, never from the text.
    pub url: Url,
}

impl Policy {
    /// Checks a URL. The failure is [`Class::Rejected`] and its message shows at most scheme, host and port.
    pub fn check_url(&self, raw: &str) -> Result<Checked, Failure> {
        let url = parse(raw)?;
        self.check(&url)?;
        Ok(Checked { url })
    }

    /// Checks a URL that is parsed already, such as the target of a redirect.
    pub fn check(&self, url: &Url) -> Result<(), Failure> {
        self.check_scheme(url)?;
        let host = url.host().ok_or_else(|| rejected(Reason::InvalidUrl, "the URL has no host"))?;
        self.check_host(&host)?;
        self.check_port(url)
    }

    /// The verdict on an address, by this policy's `allow_private`.
    pub fn judge_address(&self, address: IpAddr) -> Ruling {
        address::judge(address, &self.allow_private)
    }

    /// The verdict on a URL with everything that was considered, for people, at any time: see [`Policy::explain_at`].
    pub fn explain(&self, raw: &str) -> Verdict {
        self.explain_at(raw, None)
    }

    /// The verdict on a URL with everything that was considered, for people. With a time, a presigned URL that has
    /// expired by then is refused: it would not be contacted.
    pub fn explain_at(&self, raw: &str, now: Option<Micros>) -> Verdict {
        let parsed = parse(raw);
        let expired = now.and_then(|now| expiry::expired(raw, now));
        let decision = parsed.clone().and_then(|url| self.check(&url)).and_then(|()| expired.map_or(Ok(()), Err));
        let url = parsed.ok();
        let addresses = url.as_ref().and_then(literal).map(|a| self.explain_address(a)).unwrap_or_default();
        let (rule, reason) = match &decision {
            Ok(()) if addresses.is_empty() => {
                ("allowed; the addresses of the host are judged when they are dialled".to_string(), None)
            }
            Ok(()) => ("allowed".to_string(), None),
            Err(failure) => (failure.message.clone(), Some(failure.reason)),
        };
        Verdict {
            url: redact_url(raw),
            scheme: url.as_ref().map(|u| u.scheme().to_string()),
            host: url.as_ref().and_then(|u| u.host_str()).map(str::to_string),
            port: url.as_ref().and_then(Url::port_or_known_default),
            addresses,
            expiry: expiry(raw).map(|expiry| ExpiryVerdict {
                scheme: expiry.scheme,
                at: time::format(expiry.at),
                expired: now.map(|now| expiry.is_over(now)),
            }),
            allowed: decision.is_ok(),
            reason,
            rule,
        }
    }

    fn check_scheme(&self, url: &Url) -> Result<(), Failure> {
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.allow_http => Ok(()),
            "http" => Err(rejected(
                Reason::Scheme,
                "the scheme http is not allowed; use https, or allow http (allow_http, --allow-http)",
            )),
            other => Err(rejected(
                Reason::Scheme,
                format!(
                    "the scheme {} is not allowed; only https is, and http if you allow it (allow_http, --allow-http)",
                    short(other)
                ),
            )),
        }
    }

    fn check_host(&self, host: &Host<&str>) -> Result<(), Failure> {
        if let Some(patterns) = &self.allow_hosts
            && !patterns.iter().any(|pattern| pattern.matches(host))
        {
            return Err(rejected(
                Reason::Host,
                format!("the host {} is not allowed; name it to allow it (allow_hosts, --allow-host)", short(&host.to_string())),
            ));
        }
        match host {
            Host::Domain(name) => self.check_name(name),
            Host::Ipv4(v4) => self.check_literal(IpAddr::V4(*v4)),
            Host::Ipv6(v6) => self.check_literal(IpAddr::V6(*v6)),
        }
    }

    fn check_name(&self, name: &str) -> Result<(), Failure> {
        let bare = without_dot(name);
        if bare.len() > 253 || bare.split('.').any(|label| label.is_empty() || label.len() > 63) {
            return Err(rejected(Reason::InvalidUrl, format!("the host {} is not a valid name (RFC 1035 §2.3.4)", short(name))));
        }
        // RFC 6761 §6.3: these names are loopback whatever a resolver says.
        if (bare == "localhost" || bare.ends_with(".localhost")) && !self.allow_private.iter().any(names_loopback) {
            return Err(rejected(
                Reason::ForbiddenAddress,
                format!(
                    "the host {} is this machine; name 127.0.0.0/8 to allow it (allow_private, --allow-private)",
                    short(name)
                ),
            ));
        }
        Ok(())
    }

    fn check_literal(&self, address: IpAddr) -> Result<(), Failure> {
        let ruling = self.judge_address(address);
        if ruling.allowed { Ok(()) } else { Err(forbidden(address, &ruling)) }
    }

    fn check_port(&self, url: &Url) -> Result<(), Failure> {
        let port = url.port_or_known_default().unwrap_or(0);
        let listed = self.allow_ports.as_ref().is_none_or(|ports| ports.contains(&port));
        if listed && port != 0 {
            Ok(())
        } else {
            Err(rejected(Reason::Port, format!("the port {port} is not allowed; name it to allow it (allow_ports)")))
        }
    }

    fn explain_address(&self, literal: IpAddr) -> Vec<AddressVerdict> {
        let verdict = |form: &str, address: IpAddr| {
            let ruling = self.judge_address(address);
            AddressVerdict { address, form: form.to_string(), allowed: ruling.allowed, rule: ruling.rule.to_string() }
        };
        let inner = address::embedded(literal).into_iter().map(|(form, v4)| verdict(form, IpAddr::V4(v4)));
        std::iter::once(verdict("literal", literal)).chain(inner).collect()
    }
}

/// The failure of an address that must not be dialled.
pub fn forbidden(address: IpAddr, ruling: &Ruling) -> Failure {
    let message = format!(
        "the address {address} must not be dialled: {}; name its network to allow it (allow_private, --allow-private)",
        ruling.rule
    );
    rejected(Reason::ForbiddenAddress, message)
}

/// The verdict on a URL, with what was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The URL without its secrets.
    pub url: String,
    /// The scheme, if the URL parses.
    pub scheme: Option<String>,
    /// The host in canonical form: lower case, punycode, addresses in their usual spelling.
    pub host: Option<String>,
    /// The port, explicit or the scheme's.
    pub port: Option<u16>,
    /// For a host that is an address: the address and every IPv4 address inside it.
    pub addresses: Vec<AddressVerdict>,
    /// For a presigned URL that says until when it is valid.
    pub expiry: Option<ExpiryVerdict>,
    /// Whether the URL may be fetched.
    pub allowed: bool,
    /// Why not.
    pub reason: Option<Reason>,
    /// The rule that decided, for people.
    pub rule: String,
}

/// Until when a presigned URL is valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExpiryVerdict {
    /// The scheme of the signature.
    pub scheme: &'static str,
    /// From then on it is not asked for; RFC 3339 in UTC.
    pub at: String,
    /// Whether it has expired, where the time was given.
    pub expired: Option<bool>,
}

/// The verdict on one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AddressVerdict {
    /// The address.
    pub address: IpAddr,
    /// `literal`, `resolved`, or the name of the form that carries it.
    pub form: String,
    /// Whether it may be dialled.
    pub allowed: bool,
    /// The rule that decided, for people.
    pub rule: String,
}

/// Which hosts a policy allows: `example.com` is that host alone, `*.example.com` its subdomains at any depth and
/// not the domain itself, an IP address that address in any spelling. Case and a trailing dot make no difference,
/// international names are compared in punycode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// One host.
    Exact(Host<String>),
    /// The subdomains of a domain.
    Subdomains(String),
}

impl HostPattern {
    /// Whether the host of a parsed URL is meant.
    pub fn matches(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (HostPattern::Exact(Host::Domain(own)), Host::Domain(name)) => without_dot(name) == own,
            (HostPattern::Exact(Host::Ipv4(own)), Host::Ipv4(address)) => own == address,
            (HostPattern::Exact(Host::Ipv6(own)), Host::Ipv6(address)) => own == address,
            (HostPattern::Subdomains(domain), Host::Domain(name)) => {
                without_dot(name).strip_suffix(domain.as_str()).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.'))
            }
            _ => false,
        }
    }
}

/// Why a host pattern is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a host pattern: {cause}; write `example.com`, `*.example.com` or an IP address")]
pub struct HostPatternError {
    pattern: String,
    cause: String,
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(pattern: &str) -> Result<Self, Self::Err> {
        let error = |cause: &str| HostPatternError { pattern: pattern.to_string(), cause: cause.to_string() };
        let trimmed = pattern.trim();
        let (domain, subdomains) = match trimmed.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (trimmed, false),
        };
        if domain.contains('*') {
            return Err(error("`*` stands only at the beginning, before a dot"));
        }
        match (parse_host(domain).map_err(|e| error(&e.to_string()))?, subdomains) {
            (Host::Domain(name), true) => Ok(HostPattern::Subdomains(without_dot(&name).to_string())),
            (Host::Domain(name), false) => Ok(HostPattern::Exact(Host::Domain(without_dot(&name).to_string()))),
            (address, false) => Ok(HostPattern::Exact(address)),
            (_, true) => Err(error("an IP address has no subdomains")),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(host) => host.fmt(f),
            HostPattern::Subdomains(domain) => write!(f, "*.{domain}"),
        }
    }
}

/// Parses a host; an IPv6 address may come without its brackets.
fn parse_host(text: &str) -> Result<Host<String>, url::ParseError> {
    match text.parse::<std::net::Ipv6Addr>() {
        Ok(v6) => Ok(Host::Ipv6(v6)),
        Err(_) => Host::parse(text),
    }
}

fn parse(raw: &str) -> Result<Url, Failure> {
    let text = raw.trim();
    if text.len() > MAX_URL_BYTES {
        let message = format!("the URL has {} bytes; at most {MAX_URL_BYTES} are allowed", text.len());
        return Err(rejected(Reason::InvalidUrl, message));
    }
    // The URL standard would drop tabs and line breaks, and join what stands around them.
    if text.bytes().any(|b| b.is_ascii_control()) || (!text.is_ascii() && text.chars().any(char::is_control)) {
        return Err(rejected(Reason::InvalidUrl, "the URL contains a control character"));
    }
    Url::parse(text).map_err(|error| rejected(Reason::InvalidUrl, format!("the URL does not parse: {error}")))
}

/// The address that a URL's host is, in any of its spellings.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(v4) => Some(IpAddr::V4(v4)),
        Host::Ipv6(v6) => Some(IpAddr::V6(v6)),
        Host::Domain(_) => None,
    }
}

fn rejected(reason: Reason, message: impl Into<String>) -> Failure {
    Failure::new(Class::Rejected, reason, message)
}

fn names_loopback(net: &IpNet) -> bool {
    net.contains(&IpAddr::from([127, 0, 0, 1])) || net.contains(&IpAddr::V6(std::net::Ipv6Addr::LOCALHOST))
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// A host or scheme as shown in a message: bounded, since it comes from outside.
fn short(text: &str) -> String {
    if text.chars().count() <= 100 { text.to_string() } else { text.chars().take(99).chain(['…']).collect() }
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
