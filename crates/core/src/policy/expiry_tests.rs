#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const AWS4: &str = "https://b.s3.amazonaws.com/k.pdf?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeee";
const AWS2: &str = "https://b.s3.amazonaws.com/k?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Expires=1141889120&Signature=vjbyPxybdZaNmGa%2ByT272YEAiv4%3D";
const GOOG4: &str = "https://storage.googleapis.com/b/k?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=c&X-Goog-Date=20181026T181309Z&X-Goog-Expires=900&X-Goog-SignedHeaders=host&X-Goog-Signature=247a";
const GOOG2: &str = "https://storage.googleapis.com/b/k?GoogleAccessId=a@b&Expires=1458238630&Signature=VVUg";
const CANNED: &str = "https://d111111abcdef8.cloudfront.net/i.jpg?Expires=1767290400&Signature=nitf&Key-Pair-Id=K2JC";
/// The seconds of 2026-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_767_225_600;

fn azure(se: &str) -> String {
    format!("https://a.blob.core.windows.net/c/b?sp=r&st=2025-12-31T00:00:00Z&se={se}&spr=https&sv=2024-11-04&sr=b&sig=x%3D")
}

fn custom(json: &str) -> String {
    let policy = base64::engine::general_purpose::STANDARD.encode(json);
    let policy = policy.replace('+', "-").replace('=', "_").replace('/', "~");
    format!("https://d1.cloudfront.net/i?Policy={policy}&Signature=nitf&Key-Pair-Id=K2JC")
}

fn seconds(url: &str) -> Option<i64> {
    expiry(url).map(|expiry| expiry.at / SECOND)
}

#[test]
fn every_vendor_says_it_in_its_own_way() {
    for (url, scheme, at) in [
        (AWS4.to_string(), "AWS Signature V4", 1_369_440_000),
        (AWS2.to_string(), "AWS Signature V2", 1_141_889_120),
        (GOOG4.to_string(), "Google Cloud Storage V4", 1_540_578_489),
        (GOOG2.to_string(), "Google Cloud Storage V2", 1_458_238_630),
        (CANNED.to_string(), "CloudFront signed URL", 1_767_290_400),
        (azure("2026-01-01T00:00:00Z"), "Azure shared access signature", NEW_YEAR),
        (
            custom(
                r#"{"Statement":[{"Resource":"https://d1/*?","Condition":{"IpAddress":{"AWS:SourceIp":"192.0.2.0/24"},"DateLessThan":{"AWS:EpochTime":1357034400}}}]}"#,
            ),
            "CloudFront signed URL",
            1_357_034_400,
        ),
    ] {
        assert_eq!(expiry(&url), Some(Expiry { scheme, at: at * SECOND }), "{url}");
        assert_eq!(seconds(&format!(" {url}#page=2 ")), Some(at), "white space and a fragment change nothing");
    }
}

#[test]
fn azure_writes_times_in_several_precisions() {
    for se in [
        "2026-01-01",
        "2026-01-01T00:00Z",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00%3A00%3A00Z",
        "2026-01-01T00:00:00.0000000Z",
        "2026-01-01T01:00:00+01:00",
        "2026-01-01T01:00%2B01:00",
        "2025-12-31T16:00-08:00",
    ] {
        assert_eq!(seconds(&azure(se)), Some(NEW_YEAR), "{se}");
    }
}

#[test]
fn a_set_that_is_not_complete_says_nothing() {
    for url in [
        "https://h/a?Expires=1",
        "https://h/a?se=2020-01-01",
        "https://h/a?X-Amz-Date=20130524T000000Z&X-Amz-Expires=1",
        "https://h/a?Signature=x&Expires=1",
        "https://h/a#?AWSAccessKeyId=a&Expires=1&Signature=b",
        "",
    ] {
        assert_eq!(expiry(url), None, "{url}");
    }
}

#[test]
fn what_cannot_be_believed_is_no_expiry() {
    for wrong in ["-1", "+1", "", "1.5", "99999999999999999999", "9223372036854775807", "1767290400000", "soon", "0x1"] {
        assert_eq!(expiry(&AWS2.replace("1141889120", wrong)), None, "{wrong}");
        assert_eq!(expiry(&CANNED.replace("1767290400", wrong)), None, "{wrong}");
    }
    assert_eq!(expiry(&AWS4.replace("86400", "9223372036854775807")), None);
    for wrong in ["2013", "20130524T000000", "20131324T000000Z", "020130524T00000Z", "+20130524T00000Z", "20130524T990000Z"] {
        assert_eq!(expiry(&AWS4.replace("20130524T000000Z", wrong)), None, "{wrong}");
    }
    for wrong in ["60000-01-01", "2026-13-01", "2026-1-1", "26-01-01", "", "T", "2026-01-01T00:00", "ä2026-01-01T00:00Z"] {
        let read = seconds(&azure(wrong));
        assert!(read.is_none() || (wrong == "2026-01-01T00:00" && read == Some(NEW_YEAR)), "{wrong}: {read:?}");
    }
    for wrong in ["", "{}", r#"{"Statement":[]}"#, r#"{"Statement":[{"Condition":{}}]}"#, &"[".repeat(5_000)] {
        assert_eq!(expiry(&custom(wrong)), None, "{wrong}");
    }
    let far = r#"{"Statement":[{"Condition":{"DateLessThan":{"AWS:EpochTime":9223372036854775807}}}]}"#;
    assert_eq!((expiry(&custom(far)), expiry(&custom(&far.replace("9223", "-9223")))), (None, None));
    assert_eq!(expiry(&format!("{AWS2}&Expires=1")), None, "which of the two?");
}

#[test]
fn several_sets_expire_with_the_last() {
    let both = format!("{AWS4}&{}", GOOG4.split_once('?').unwrap().1);
    assert_eq!(seconds(&both), Some(1_540_578_489));
    assert_eq!(expiry(&both.replace("X-Goog-Expires=900", "X-Goog-Expires=x")), None, "the unknown one may be the later");
}

#[test]
fn the_second_that_it_names_is_too_late() {
    let at = 1_141_889_120 * SECOND;
    assert_eq!(expired(AWS2, at - 1), None);
    let failure = expired(AWS2, at).unwrap();
    assert_eq!((failure.class, failure.reason), (Class::Permanent, Reason::Expired));
    assert!(failure.message.contains("2006-03-09T07:25:20.000Z") && !failure.message.contains("vjby"), "{failure}");
}

#[test]
fn what_expires_soon_goes_first() {
    let at = 1_141_889_120 * SECOND;
    assert!(!is_urgent(AWS2, at - URGENT - 1));
    assert!(is_urgent(AWS2, at - URGENT) && is_urgent(AWS2, at - 1));
    assert!(!is_urgent(AWS2, at), "it is not asked for any more");
    assert!(!is_urgent("https://h/a", 0));
    assert!(Urgency::Urgent < Urgency::Normal);
}

#[test]
fn a_refusal_after_the_expiry_is_told_as_expired() {
    let refusal = |status| Failure::new(Class::Permanent, Reason::HttpStatus, "no").with_status(status);
    let at = 1_141_889_120 * SECOND;
    for status in [400, 401, 403] {
        let told = explain_refusal(refusal(status), AWS2, at);
        assert_eq!((told.class, told.reason, told.http_status), (Class::Permanent, Reason::Expired, Some(status)));
        assert_eq!(explain_refusal(refusal(status), AWS2, at - 1), refusal(status));
        assert_eq!(explain_refusal(refusal(status), "https://h/a", at), refusal(status));
    }
    assert_eq!(explain_refusal(refusal(404), AWS2, at), refusal(404));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), now: i64) {
        expiry(&text);
        is_urgent(&text, now);
    }

    #[test]
    fn no_value_makes_it_panic(value in any::<String>(), scheme in 0usize..6, now: i64) {
        let url = match scheme {
            0 => AWS4.replace("86400", &value),
            1 => AWS4.replace("20130524T000000Z", &value),
            2 => AWS2.replace("1141889120", &value),
            3 => azure(&value),
            4 => custom(&value),
            _ => CANNED.replace("Expires=1767290400", &format!("Policy={value}")),
        };
        let read = expiry(&url);
        prop_assert!(read.is_none_or(|e| (0..TOO_LATE).contains(&e.at)), "{read:?}");
        is_urgent(&url, now);
        expired(&url, now);
    }

    #[test]
    fn any_second_is_read_back(at in 0i64..253_402_300_800) {
        prop_assert_eq!(seconds(&CANNED.replace("1767290400", &at.to_string())), Some(at));
        prop_assert_eq!(seconds(&azure(&time::format(at * SECOND))), Some(at));
    }
}
