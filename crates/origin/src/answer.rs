//! What the head of an answer means.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, NaiveDateTime};
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderName};
use longshore_core::outcome::{Class, Failure, Reason};

/// What to do with an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Its body is the file.
    File,
    /// The file is at this reference, relative to the URL asked.
    Elsewhere(String),
    /// There is no file here.
    Refused(Failure),
}

/// Decides by status and headers. `ranged` tells whether the request asked for a range.
pub(crate) fn meaning(status: StatusCode, headers: &HeaderMap, ranged: bool, transient: &[u16]) -> Meaning {
    match status.as_u16() {
        202 => refused(Class::Transient, status, "the host accepted the request but has no file yet"),
        204 | 205 => refused(Class::Permanent, status, "the host says that there is no content"),
        206 if !ranged => {
            let message = "the host sent a part of the file although the whole was asked for";
            Meaning::Refused(Failure::new(Class::Transient, Reason::Protocol, message).with_status(206))
        }
        200..=299 => encoding(status, headers).map_or(Meaning::File, Meaning::Refused),
        301 | 302 | 303 | 307 | 308 => match text(headers, &header::LOCATION) {
            Some(location) => Meaning::Elsewhere(location),
            None => refused(Class::Permanent, status, "the host redirects without saying where to"),
        },
        _ => Meaning::Refused(status_failure(status, headers, transient, now())),
    }
}

/// A header's text, with what is not UTF-8 replaced.
pub(crate) fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn refused(class: Class, status: StatusCode, message: &str) -> Meaning {
    Meaning::Refused(Failure::new(class, Reason::HttpStatus, format!("{message} ({status})")).with_status(status.as_u16()))
}

/// The stored bytes would not be the file's, so an encoding that was not asked for is refused (RFC 9110 §12.5.3).
fn encoding(status: StatusCode, headers: &HeaderMap) -> Option<Failure> {
    let plain = |value: &str| {
        value.split(',').all(|coding| matches!(coding.trim(), "") || coding.trim().eq_ignore_ascii_case("identity"))
    };
    let odd = headers.get_all(header::CONTENT_ENCODING).iter().find(|value| !value.to_str().is_ok_and(plain))?;
    let shown: String = String::from_utf8_lossy(odd.as_bytes()).chars().take(40).collect();
    let message = format!("the body is encoded as {shown:?} although only identity was accepted");
    Some(Failure::new(Class::Permanent, Reason::Encoding, message).with_status(status.as_u16()))
}

fn status_failure(status: StatusCode, headers: &HeaderMap, transient: &[u16], now: SystemTime) -> Failure {
    let retry_after = headers.get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| retry_after(v, now));
    let worth_another = transient.contains(&status.as_u16());
    let (class, reason) = match status.as_u16() {
        429 => (Class::Throttled, Reason::HostThrottled),
        _ if retry_after.is_some() && (worth_another || status.is_server_error()) => (Class::Throttled, Reason::HostThrottled),
        _ if worth_another => (Class::Transient, Reason::HttpStatus),
        _ => (Class::Permanent, Reason::HttpStatus),
    };
    let mut failure = Failure::new(class, reason, format!("the host answered {status}")).with_status(status.as_u16());
    failure.retry_after = retry_after;
    failure
}

fn now() -> SystemTime {
    SystemTime::now()
}

/// How long `Retry-After` says to wait (RFC 9110 §10.2.3): seconds, or until a date in any of the three forms of
/// RFC 9110 §5.6.7. A date that has passed is no wait; what is neither is nothing.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = http_date(value)?;
    let now = now.duration_since(UNIX_EPOCH).ok()?;
    Some(Duration::from_secs(u64::try_from(until).ok()?).saturating_sub(now))
}

/// Seconds since 1970 of an HTTP date.
fn http_date(value: &str) -> Option<i64> {
    let obsolete = |format| NaiveDateTime::parse_from_str(value, format).ok().map(|date| date.and_utc().timestamp());
    DateTime::parse_from_rfc2822(value)
        .ok()
        .map(|date| date.timestamp())
        .or_else(|| obsolete("%A, %d-%b-%y %H:%M:%S GMT"))
        .or_else(|| obsolete("%a %b %e %H:%M:%S %Y"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    fn failure(status: u16, headers: &HeaderMap) -> Failure {
        match meaning(StatusCode::from_u16(status).unwrap(), headers, false, &[408, 429, 500, 502, 503, 504]) {
            Meaning::Refused(failure) => failure,
            other => panic!("{status}: {other:?}"),
        }
    }

    #[test]
    fn statuses_have_their_class() {
        let none = HeaderMap::new();
        for (statuses, class, reason) in [
            (&[408, 500, 502, 503, 504, 202][..], Class::Transient, Reason::HttpStatus),
            (&[204, 205, 300, 302, 304, 400, 401, 403, 404, 410, 451, 501, 505, 599, 999], Class::Permanent, Reason::HttpStatus),
            (&[206], Class::Transient, Reason::Protocol),
            (&[429], Class::Throttled, Reason::HostThrottled),
        ] {
            for status in statuses {
                let failure = failure(*status, &none);
                assert_eq!((failure.class, failure.reason, failure.http_status), (class, reason, Some(*status)), "{status}");
            }
        }
    }

    #[test]
    fn retry_after_makes_a_throttle_of_what_may_pass() {
        let headers = with(header::RETRY_AFTER, "120");
        for status in [429, 503, 500, 501] {
            let failure = failure(status, &headers);
            assert_eq!((failure.class, failure.retry_after), (Class::Throttled, Some(Duration::from_secs(120))), "{status}");
        }
        assert_eq!(failure(404, &headers).class, Class::Permanent);
        assert_eq!(failure(503, &with(header::RETRY_AFTER, "soon")).class, Class::Transient);
    }

    #[test]
    fn retry_after_reads_seconds_and_all_dates() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777 - 60);
        for value in ["60", " 60 ", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(retry_after(value, now), Some(Duration::from_secs(60)), "{value}");
        }
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("99999999999999999999999", now), Some(Duration::from_secs(u64::MAX)));
        for value in ["", "-1", "1.5", "tomorrow", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(retry_after(value, now), None, "{value}");
        }
    }

    #[test]
    fn only_identity_is_a_file() {
        let file = |value| meaning(StatusCode::OK, &with(header::CONTENT_ENCODING, value), false, &[]) == Meaning::File;
        assert!(file("identity") && file("") && file("Identity"));
        assert!(!file("gzip") && !file("identity, br"));
        assert_eq!(failure(200, &with(header::CONTENT_ENCODING, "gzip")).reason, Reason::Encoding);
    }
}
