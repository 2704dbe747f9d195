//! Any text as a URL: the verdict never panics, and what it allows keeps the promises.

#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use longshore_core::hosts::authority;
use longshore_core::path::{UrlParts, is_sanitised};
use longshore_core::policy::Policy;
use longshore_core::policy::redact::{identity, redact_url};
use url::{Host, Url};

fuzz_target!(|text: &str| {
    let policy = Policy { allow_http: true, ..Policy::default() };
    let verdict = policy.explain(text);
    let checked = policy.check_url(text);
    assert_eq!(checked.is_ok(), verdict.allowed, "the explanation and the check disagree");
    let redacted = redact_url(text);
    if let Ok(shown) = Url::parse(&redacted)
        && ["http", "https"].contains(&shown.scheme())
    {
        assert!(shown.password().is_none() && shown.username().is_empty(), "who may fetch it is shown");
    }
    let named = identity(text);
    let _ = authority(text);
    if let Ok(checked) = checked {
        let address = match checked.url.host().expect("an allowed URL has a host") {
            Host::Domain(_) => None,
            Host::Ipv4(v4) => Some(IpAddr::V4(v4)),
            Host::Ipv6(v6) => Some(IpAddr::V6(v6)),
        };
        if let Some(address) = address {
            assert!(policy.judge_address(address).allowed, "{address} is allowed in a URL and must not be dialled");
            assert!(!address.is_loopback() && !address.is_unspecified() && !address.is_multicast());
        }
        if let Some(parts) = UrlParts::of(&named) {
            assert!(is_sanitised(&parts.object_path()));
        }
    }
});
