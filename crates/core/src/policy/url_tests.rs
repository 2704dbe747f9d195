#![allow(clippy::unwrap_used)]

use super::*;

fn http() -> Policy {
    Policy { allow_http: true, ..Policy::default() }
}

fn reason(policy: &Policy, url: &str) -> Option<Reason> {
    policy.check_url(url).err().map(|failure| {
        assert_eq!(failure.class, Class::Rejected, "{url}");
        failure.reason
    })
}

#[test]
fn only_https_unless_http_is_allowed() {
    assert_eq!(reason(&Policy::default(), "https://example.com/a"), None);
    assert_eq!(reason(&Policy::default(), "  HTTPS://EXAMPLE.com/a\n"), None);
    assert_eq!(reason(&Policy::default(), "http://example.com/a"), Some(Reason::Scheme));
    assert_eq!(reason(&http(), "http://example.com/a"), None);
    for url in [
        "ftp://example.com/",
        "file:///etc/passwd",
        "data:text/plain,x",
        "gopher://example.com/",
        "javascript:alert(1)",
        "ws://h/",
    ] {
        assert_eq!(reason(&http(), url), Some(Reason::Scheme), "{url}");
    }
}

#[test]
fn what_is_no_url_is_refused() {
    let long = format!("https://example.com/{}", "a".repeat(MAX_URL_BYTES));
    let label = format!("https://{}.com/", "a".repeat(64));
    for url in [
        "",
        "example.com/a",
        "https://",
        "https:///",
        "//example.com",
        "https://a b/",
        "https://exa\tmple.com/",
        "https://h/a\nb",
        "https://h/\0",
        "https://[::1/",
        "https://h:99999/",
        "https://1.2.3.4.5/",
        "https://256.1.1.1/",
        "https://..../",
        "https://a..b/",
        &long,
        &label,
    ] {
        assert_eq!(reason(&http(), url), Some(Reason::InvalidUrl), "{url}");
    }
}

/// Spellings of this machine and of private addresses; all of them must be refused without any resolver.
const LOCAL: &[&str] = &[
    "http://127.0.0.1/",
    "http://127.1/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.1./",
    "http://0/",
    "http://0.0.0.0/",
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0::0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://foo.localhost/",
    "http://foo.LocalHost./",
    "http://１２７.０.０.１/",
    "http://①②⑦.⓪.⓪.①/",
    "http://ｌｏｃａｌｈｏｓｔ/",
    "http://127。0。0。1/",
    "http://%31%32%37.0.0.1/",
    "http://%6cocalhost/",
    "http://example.com@127.0.0.1/",
    "http://example.com:80@127.0.0.1/",
    "http://example.com%40x@127.0.0.1/",
    "http:\\\\127.0.0.1\\",
    "http:127.0.0.1",
    "http:/127.0.0.1",
    "http:////127.0.0.1/",
    "http://127.0.0.1\\@example.com/",
    "http://127.0.0.1#@example.com/",
    "http://127.0.0.1?@example.com/",
    "http://10.0.0.1/",
    "http://192.168.1.1/",
    "http://172.16.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://[fe80::1]/",
    "http://255.255.255.255/",
];

#[test]
fn every_spelling_of_a_forbidden_address_is_refused() {
    for url in LOCAL {
        assert_eq!(reason(&http(), url), Some(Reason::ForbiddenAddress), "{url}");
    }
}

#[test]
fn allow_private_opens_only_what_it_names() {
    let policy = Policy { allow_private: vec!["127.0.0.0/8".parse().unwrap()], ..http() };
    for url in ["http://127.1/", "http://2130706433/", "http://[::ffff:127.0.0.1]/", "http://localhost/", "http://a.localhost./"]
    {
        assert_eq!(reason(&policy, url), None, "{url}");
    }
    for url in ["http://10.0.0.1/", "http://[::1]/"] {
        assert_eq!(reason(&policy, url), Some(Reason::ForbiddenAddress), "{url}");
    }
}

#[test]
fn host_patterns() {
    let matches = |pattern: &str, url: &str| {
        let policy = Policy { allow_hosts: Some(vec![pattern.parse().unwrap()]), ..http() };
        reason(&policy, url) != Some(Reason::Host)
    };
    for (pattern, url) in [
        ("example.com", "https://example.com/"),
        ("Example.COM.", "https://EXAMPLE.com./"),
        ("*.example.com", "https://a.example.com/"),
        ("*.example.com", "https://a.b.example.com./"),
        ("*.bücher.example", "https://a.xn--bcher-kva.example/"),
        ("bücher.example", "https://BÜCHER.example/"),
        ("8.8.8.8", "https://134744072/"),
        ("2606:4700::1111", "https://[2606:4700:0::1111]/"),
        ("[2606:4700::1111]", "https://[2606:4700::1111]/"),
    ] {
        assert!(matches(pattern, url), "{pattern} {url}");
    }
    for (pattern, url) in [
        ("example.com", "https://a.example.com/"),
        ("example.com", "https://example.com.evil.example/"),
        ("example.com", "https://example.com@evil.example/"),
        ("*.example.com", "https://example.com/"),
        ("*.example.com", "https://badexample.com/"),
        ("*.example.com", "https://evil.example/a.example.com"),
        ("8.8.8.8", "https://8.8.4.4/"),
    ] {
        assert!(!matches(pattern, url), "{pattern} {url}");
    }
    for pattern in ["*", "", "a.*.com", "*.", "**.a", "*.8.8.8.8", "https://example.com", "a b"] {
        let error = pattern.parse::<HostPattern>().unwrap_err().to_string();
        assert!(error.contains("is not a host pattern"), "{pattern}: {error}");
    }
    assert_eq!("*.Example.com".parse::<HostPattern>().unwrap().to_string(), "*.example.com");
}

#[test]
fn an_allowed_host_does_not_open_a_forbidden_address() {
    let policy = Policy { allow_hosts: Some(vec!["127.0.0.1".parse().unwrap(), "localhost".parse().unwrap()]), ..http() };
    assert_eq!(reason(&policy, "http://127.0.0.1/"), Some(Reason::ForbiddenAddress));
    assert_eq!(reason(&policy, "http://localhost/"), Some(Reason::ForbiddenAddress));
}

#[test]
fn ports() {
    let policy = Policy { allow_ports: Some(vec![443, 8443]), ..http() };
    assert_eq!(reason(&policy, "https://example.com/"), None);
    assert_eq!(reason(&policy, "https://example.com:8443/"), None);
    assert_eq!(reason(&policy, "http://example.com/"), Some(Reason::Port));
    assert_eq!(reason(&http(), "http://example.com:0/"), Some(Reason::Port));
    assert_eq!(reason(&http(), "http://example.com:22/"), None);
}

#[test]
fn no_failure_shows_a_secret() {
    let policy =
        Policy { allow_hosts: Some(vec!["example.com".parse().unwrap()]), allow_ports: Some(vec![443]), ..Policy::default() };
    for url in [
        "http://u:5ec2e7@example.com/",
        "https://u:5ec2e7@other.example/?sig=5ec2e7",
        "https://u:5ec2e7@127.0.0.1/",
        "https://u:5ec2e7@example.com:1/",
        "https://u:5ec/2e7@example.com:1/?token=5ec2e7",
        "ftp://u:5ec2e7@example.com/",
    ] {
        let verdict = policy.explain(url);
        assert!(!verdict.allowed, "{url}");
        assert!(!serde_json::to_string(&verdict).unwrap().contains("5ec2e7"), "{verdict:?}");
        assert!(!policy.check_url(url).unwrap_err().to_string().contains("5ec"), "{url}");
    }
}

#[test]
fn an_explanation_names_forms_and_the_rule() {
    let verdict = http().explain("http://[::FFFF:7f00:1]:8080/x?sig=1");
    assert_eq!(verdict.url, "http://[::FFFF:7f00:1]:8080/x?sig=REDACTED");
    assert_eq!((verdict.host.as_deref(), verdict.port, verdict.allowed), (Some("[::ffff:7f00:1]"), Some(8080), false));
    assert_eq!(verdict.reason, Some(Reason::ForbiddenAddress));
    let forms: Vec<_> = verdict.addresses.iter().map(|a| (a.form.as_str(), a.address.to_string(), a.allowed)).collect();
    assert_eq!(forms, [("literal", "::ffff:127.0.0.1".to_string(), false), ("IPv4-mapped form", "127.0.0.1".to_string(), false)]);
    assert!(verdict.rule.contains("loopback"), "{}", verdict.rule);
    let verdict = Policy::default().explain("https://Bücher.example/");
    assert!(verdict.allowed && verdict.rule.contains("judged when they are dialled"), "{verdict:?}");
    assert_eq!(verdict.host.as_deref(), Some("xn--bcher-kva.example"));
    let verdict = Policy::default().explain("https://8.8.8.8/");
    assert_eq!((verdict.addresses.len(), verdict.rule.as_str()), (1, "allowed"));
    assert!(!Policy::default().explain("nonsense").allowed);
}

#[test]
fn an_explanation_names_the_expiry() {
    let url = "https://b.s3.amazonaws.com/k?AWSAccessKeyId=AKIA5ec2e7&Expires=1141889120&Signature=5ec2e7";
    let at = 1_141_889_120_000_000;
    let verdict = Policy::default().explain(url);
    let expiry = verdict.expiry.clone().unwrap();
    assert_eq!((expiry.scheme, expiry.at.as_str()), ("AWS Signature V2", "2006-03-09T07:25:20.000Z"));
    assert_eq!((expiry.expired, verdict.allowed), (None, true), "no time, no verdict on it");
    let before = Policy::default().explain_at(url, Some(at - 1));
    assert_eq!((before.allowed, before.expiry.unwrap().expired), (true, Some(false)));
    let after = Policy::default().explain_at(url, Some(at));
    assert_eq!((after.allowed, after.reason), (false, Some(Reason::Expired)));
    assert!(!serde_json::to_string(&after).unwrap().contains("5ec2e7"), "{after:?}");
    let refused = Policy { allow_ports: Some(vec![8443]), ..Policy::default() }.explain_at(url, Some(at));
    assert_eq!(refused.reason, Some(Reason::Port), "what forbids it for ever is said first");
    assert_eq!(Policy::default().explain("https://h/").expiry, None);
}

#[test]
fn a_refusal_names_the_key_and_the_flag() {
    let only = Policy { allow_hosts: Some(vec!["example.com".parse().unwrap()]), ..Policy::default() };
    for (policy, url, remedy) in [
        (&Policy::default(), "http://example.com/", "(allow_http, --allow-http)"),
        (&Policy::default(), "ftp://example.com/", "(allow_http, --allow-http)"),
        (&only, "https://example.org/", "(allow_hosts, --allow-host)"),
        (&Policy::default(), "https://localhost/", "(allow_private, --allow-private)"),
        (&Policy::default(), "https://127.0.0.1/", "(allow_private, --allow-private)"),
    ] {
        let message = policy.check_url(url).unwrap_err().message;
        assert!(message.contains(remedy), "{message}");
    }
}
