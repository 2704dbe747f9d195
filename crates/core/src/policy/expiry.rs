//! Until when a presigned URL is valid, as it says itself.
//!
//! Only a complete set of one scheme's parameters counts, by the same table that `identity` uses: a parameter that
//! merely shares a name says nothing. What cannot be read (a parameter twice, no number, a year beyond 9999) is no
//! known expiry, and the host decides.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::{NaiveDate, NaiveDateTime};
use serde::Deserialize;

use super::redact::{Validity, complete, decoded, query_of};
use crate::outcome::{Class, Failure, Reason};
use crate::time::{self, DAY, Micros, SECOND};

/// How long a URL is still used after the second that it names: not at all.
pub const LEEWAY: Micros = 0;
/// A URL that expires within this time goes before others.
pub const URGENT: Micros = 120 * SECOND;
/// 10000-01-01T00:00:00Z: an expiry from here on is taken for none.
const TOO_LATE: Micros = 253_402_300_800 * SECOND;
/// The longest policy document that is read, in bytes; CloudFront's own limit is well below it.
const MAX_POLICY_BYTES: usize = 8 * 1024;

/// Until when a presigned URL is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// The scheme of the signature, for people.
    pub scheme: &'static str,
    /// From then on the host refuses it.
    pub at: Micros,
}

impl Expiry {
    /// Whether it is over.
    pub fn is_over(&self, now: Micros) -> bool {
        now >= self.at.saturating_add(LEEWAY)
    }
}

/// How soon a URL must be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It expires within [`URGENT`]: first.
    Urgent,
    /// In turn. An expired URL too: it is not asked for at all.
    Normal,
}

/// Until when a URL is valid; nothing if it is not presigned or does not say. A URL that carries the sets of several
/// schemes is valid until the last of them: which one its host checks is not known.
pub fn expiry(url: &str) -> Option<Expiry> {
    let query = query_of(url)?;
    let of = |presigned: &super::redact::Presigned| {
        let at = presigned.validity.until(query).filter(|at| (0..TOO_LATE).contains(at))?;
        Some(Expiry { scheme: presigned.name, at })
    };
    let all: Option<Vec<Expiry>> = complete(query).into_iter().map(of).collect();
    all?.into_iter().max_by_key(|expiry| expiry.at)
}

/// How soon a URL with this expiry must be asked for.
pub fn urgency(expiry: Option<Expiry>, now: Micros) -> Urgency {
    match expiry {
        Some(expiry) if !expiry.is_over(now) && expiry.at <= now.saturating_add(URGENT) => Urgency::Urgent,
        _ => Urgency::Normal,
    }
}

/// Whether a URL must go before others.
pub fn is_urgent(url: &str, now: Micros) -> bool {
    urgency(expiry(url), now) == Urgency::Urgent
}

/// The failure of a URL whose signature has expired; nothing if it has not, or is not known to have.
pub fn expired(url: &str, now: Micros) -> Option<Failure> {
    let expiry = expiry(url).filter(|expiry| expiry.is_over(now))?;
    let message = format!("the URL's signature ({}) expired at {}", expiry.scheme, time::format(expiry.at));
    Some(Failure::new(Class::Permanent, Reason::Expired, message))
}

/// What a refusal means for a URL whose signature may have expired meanwhile: 401 and 403 (AWS, Azure, CloudFront) and
/// 400 (Google) are then told as `expired`, every other failure as it is.
pub fn explain_refusal(failure: Failure, url: &str, now: Micros) -> Failure {
    match (failure.http_status, expired(url, now)) {
        (Some(status @ (400 | 401 | 403)), Some(expired)) => {
            let message = format!("{}; the host answered {status}", expired.message);
            Failure { message, ..expired }.with_status(status)
        }
        _ => failure,
    }
}

impl Validity {
    fn until(&self, query: &str) -> Option<Micros> {
        match self {
            Validity::Span { from, seconds } => {
                let begin = compact_time(&value(query, from)?)?;
                begin.checked_add(epoch_seconds(&value(query, seconds)?)?)
            }
            Validity::Epoch(name) => epoch_seconds(&value(query, name)?),
            Validity::Iso(name) => iso_time(&value(query, name)?),
            Validity::Policy { document, epoch } => match value(query, document) {
                Some(document) => policy_time(&document),
                None => epoch_seconds(&value(query, epoch)?),
            },
        }
    }
}

/// The value of a parameter that stands there once.
fn value<'a>(query: &'a str, name: &str) -> Option<std::borrow::Cow<'a, str>> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let first = values.next()?;
    values.next().is_none().then(|| decoded(first))
}

/// `20260101T000000Z`.
fn compact_time(text: &str) -> Option<Micros> {
    let parsed = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok()?;
    (text.len() == 16).then(|| parsed.and_utc().timestamp_micros())
}

/// A number of seconds, in microseconds.
fn epoch_seconds(text: &str) -> Option<Micros> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse::<i64>().ok().filter(|_| digits)?.checked_mul(SECOND)
}

/// The forms of Azure's `se`: a date (its midnight), or a time with minutes, seconds or fractions, in UTC or with an
/// offset.
fn iso_time(text: &str) -> Option<Micros> {
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return (text.len() == 10).then(|| i64::from(date.to_epoch_days()).checked_mul(DAY)).flatten();
    }
    time::parse_event_time(text).or_else(|| time::parse_event_time(&with_seconds(text)?))
}

/// `2026-01-01T00:00Z` with its seconds.
fn with_seconds(text: &str) -> Option<String> {
    let (minutes, zone) = text.split_at_checked("2026-01-01T00:00".len())?;
    Some(format!("{minutes}:00{zone}"))
}

/// CloudFront's Base64: `-`, `_` and `~` stand for `+`, `=` and `/`.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

#[derive(Deserialize)]
struct PolicyDocument {
    #[serde(rename = "Statement")]
    statement: Vec<Statement>,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "Condition")]
    condition: Condition,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "DateLessThan")]
    before: EpochTime,
}

#[derive(Deserialize)]
struct EpochTime {
    #[serde(rename = "AWS:EpochTime")]
    seconds: i64,
}

/// When the one statement of a custom policy ends.
fn policy_time(document: &str) -> Option<Micros> {
    if document.len() > MAX_POLICY_BYTES {
        return None;
    }
    let plain = |c| match c {
        '-' => '+',
        '_' => '=',
        '~' => '/',
        other => other,
    };
    let json = LENIENT.decode(document.chars().map(plain).collect::<String>()).ok()?;
    let policy: PolicyDocument = serde_json::from_slice(&json).ok()?;
    match policy.statement.as_slice() {
        [only] => only.condition.before.seconds.checked_mul(SECOND),
        _ => None,
    }
}

#[cfg(test)]
#[path = "expiry_tests.rs"]
mod tests;
