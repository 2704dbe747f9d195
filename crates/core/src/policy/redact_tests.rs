#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

const AWS4: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=5ec2e7";
const GOOG4: &str = "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=5ec2e7&X-Goog-Date=20260101T000000Z&X-Goog-Expires=60&X-Goog-SignedHeaders=host&X-Goog-Signature=5ec2e7";

#[test]
fn userinfo_goes_however_the_url_is_spelled() {
    for (text, shown) in [
        ("https:u:secret@h.example/p/x://y", "https:h.example/p/x://y"),
        ("url:https://u:secret@h.example/", "url:https://h.example/"),
        ("\0ht\ntps:/u:secret@h.example/", "https:/h.example/"),
    ] {
        assert_eq!(redact_url(text), shown);
    }
}

#[test]
fn no_secret_is_left() {
    for url in [
        "https://user:5ec2e7@h/p",
        "https://5ec2e7@h/p",
        "https://user:5ec@2e7@h/p",
        "https://user:5ec/5ec2e7@h/p",
        "https://user:5ec?5ec2e7@h/p",
        "https://user:5ec#5ec2e7@h/p",
        "https:user:5ec2e7@h/p",
        "https:\\\\user:5ec2e7@h/p",
        "//user:5ec2e7@h/p",
        "user:5ec2e7@h/p",
        "not a url ://user:5ec2e7@h?sig=5ec2e7",
        &format!("https://b.s3.amazonaws.com/k?{AWS4}&X-Amz-Security-Token=5ec2e7"),
        &format!("https://storage.googleapis.com/b/k?{GOOG4}"),
        "https://h/p?AWSAccessKeyId=5ec2e7&Signature=5ec2e7&Expires=1",
        "https://a.blob.core.windows.net/c/b?sv=2024&se=2026&sr=b&sp=r&sig=5ec2e7%3D",
        "https://h/p?SIG=5ec2e7/a+5ec2e7==",
        "https://h/p?Policy=5ec2e7&Signature=5ec2e7&Key-Pair-Id=5ec2e7",
        "https://h/p?GoogleAccessId=5ec2e7&Signature=5ec2e7",
        "https://h/p?access_token=5ec2e7",
        "https://h/p?api-key=5ec2e7&Api_Key=5ec2e7&APIKEY=5ec2e7&key=5ec2e7",
        "https://h/p?a=1;token=5ec2e7",
        "https://h/p?a=1?token=5ec2e7",
        "https://h/p?%74oken=5ec2e7",
        "https://h/p?x-amz-security%2Dtoken=5ec2e7",
        "https://h/p?auth[password]=5ec2e7&auth=5ec2e7&Authorization=5ec2e7",
        "https://h/p?session=5ec2e7&sessionid=5ec2e7&sid=5ec2e7&code=5ec2e7&jwt=5ec2e7&pwd=5ec2e7&passwd=5ec2e7",
        "https://h/p#access_token=5ec2e7&state=1",
        "https://h/p#/cb?id_token=5ec2e7",
        "https://h/p;jsessionid=5ec2e7?x=1",
        "https://h/p;a=b;jsessionid=5ec2e7/q",
        "https://h/p?next=https%3A%2F%2Fo%2Fp%3Fsig%3D5ec2e7",
        "https://h/p?next=https%253A%252F%252Fo%252Fp%253Fsig%253D5ec2e7",
        "https://h/p?next=https%3A%2F%2Fuser%3A5ec2e7%40o%2Fp",
        "https://h/p?next=https://o/p?client_secret=5ec2e7",
        "?token=5ec2e7",
        "token=5ec2e7/x?sig=5ec2e7",
    ] {
        let shown = redact_url(url);
        assert!(!shown.contains("5ec2e7"), "{url} shows as {shown}");
        assert_eq!(redact_url(&shown), shown, "{url}");
    }
}

#[test]
fn what_is_no_secret_stays() {
    for url in [
        "https://h.example:8443/a/b%20c.pdf?page=2&size=&q=a%2Fb&keyboard=qwerty#top",
        "https://[2001:db8::1]:443/p@q?to=a@b.example",
        "https://h/a:b@c/d",
        "https://h/p?X-Amz-Date=20260101T000000Z&X-Amz-Expires=3600&sv=2024&se=2026",
        "https://h/p?author=me&monkey=1&codec=h264&next=https%3A%2F%2Fo%2Fp%3Fa%3D1",
        "not a url",
        "",
    ] {
        assert_eq!(redact_url(url), url);
    }
    assert_eq!(redact_url(" https://u:p@h:1/p?a=1&sig=x&b=2#f "), "https://h:1/p?a=1&sig=REDACTED&b=2#f");
}

#[test]
fn identity_drops_complete_sets_only() {
    let cases = [
        ("https://h/p", "https://h/p"),
        (" https://h/p?a=1 \n", "https://h/p?a=1"),
        ("https://h/p?", "https://h/p?"),
        ("https://h/p?#f", "https://h/p?#f"),
        ("https://h/p?Signature=x&Expires=1", "https://h/p?Signature=x&Expires=1"),
        ("https://h/p?sig=x&sv=1", "https://h/p?sig=x&sv=1"),
        ("https://h/p?se=1&sv=1&sp=r", "https://h/p?se=1&sv=1&sp=r"),
        ("https://h/p?sig=x&sv=1&se=2", "https://h/p"),
        ("https://h/p?sig=x&sv=1&se=2#page=2", "https://h/p#page=2"),
        ("https://h/p?sp=r&b=2&st=1&se=2&spr=https&sv=1&sr=b&a=1&sig=x", "https://h/p?b=2&a=1"),
        ("https://h/p?SIG=x&Sv=1&sE=2&versionid=7", "https://h/p?versionid=7"),
        ("https://h/p?AWSAccessKeyId=A&Expires=1&Signature=s", "https://h/p"),
        (
            "https://h/p?AWSAccessKeyId=A&Expires=1&Signature=s&x-amz-security-token=t&response-content-type=a",
            "https://h/p?response-content-type=a",
        ),
        ("https://h/p?GoogleAccessId=a&Expires=1&Signature=s&generation=3", "https://h/p?generation=3"),
        ("https://h/p?Expires=1&Signature=s&Key-Pair-Id=K", "https://h/p"),
        ("https://h/p?Policy=e&Signature=s&Key-Pair-Id=K&v=1", "https://h/p?v=1"),
        ("https://h/p?Signature=s&Key-Pair-Id=K", "https://h/p?Signature=s&Key-Pair-Id=K"),
        ("HTTPS://H/%7ep/../q?b=&&a=%20+", "HTTPS://H/%7ep/../q?b=&&a=%20+"),
        ("https://h/p?u=https://o/?sig=x&sv=1&se=2", "https://h/p?u=https://o/?sig=x&sv=1&se=2"),
    ];
    for (url, expected) in cases {
        assert_eq!(identity(url), expected, "{url}");
    }
    for signed in [AWS4, GOOG4] {
        assert_eq!(identity(&format!("https://h/p?{signed}")), "https://h/p");
        assert_eq!(identity(&format!("https://h/p?a=1&{}&b=2", signed.to_lowercase())), "https://h/p?a=1&b=2");
        let (incomplete, _) = signed.rsplit_once('&').unwrap();
        let url = format!("https://h/p?{incomplete}");
        assert_eq!(identity(&url), url);
    }
    assert_eq!(
        identity(&format!("https://h/p?X-Amz-Security-Token=t&{AWS4}&X-Amz-Content-Sha256=u&x-id=GetObject")),
        "https://h/p?x-id=GetObject"
    );
}

proptest! {
    /// Signing a URL anew, in any order of parameters, leaves its identity; and identity is idempotent.
    #[test]
    fn a_url_signed_anew_is_the_same(
        base in "https://[a-z]{1,8}/[a-zA-Z0-9/._%-]{0,20}",
        own in prop::collection::vec("own[a-z]{0,3}=[a-z0-9%]{0,5}", 0..4),
        scheme in 0..PRESIGNED.len(),
        seed: u64,
    ) {
        let plain = if own.is_empty() { base.clone() } else { format!("{base}?{}", own.join("&")) };
        let scheme = &PRESIGNED[scheme];
        let mut all = own.clone();
        for (i, name) in scheme.required.iter().chain(scheme.either).enumerate() {
            let at = (seed as usize).wrapping_mul(i + 7) % (all.len() + 1);
            // The parameters of the URL itself keep their order; the signature's go anywhere between.
            all.insert(at, format!("{name}={seed:x}"));
        }
        let signed = format!("{base}?{}", all.join("&"));
        prop_assert_eq!(identity(&signed), plain.as_str());
        prop_assert_eq!(identity(&plain), plain.as_str());
    }

    /// Any text at all: no panic, identity settles at once, and a planted secret never shows.
    #[test]
    fn any_text(text in "\\PC{0,40}", secret in "[a-f]{12}") {
        redact_url(&text);
        let once = identity(&text).into_owned();
        prop_assert_eq!(identity(&once), once.as_str());
        let planted = redact_url(&format!("https://u:{secret}@h/{}?a=1&token={secret}&b=2", text.replace(['#', '?'], "")));
        prop_assert!(!planted.contains(&secret), "{}", planted);
    }
}
