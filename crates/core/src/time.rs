//! Points in time, and event times as producers write them.

use chrono::{DateTime, NaiveDateTime, Utc};

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds in a day.
pub const DAY: i64 = 86_400 * SECOND;

/// 2000-01-01T00:00:00Z: an event time before it does not choose a partition.
const EARLIEST_PARTITION: i64 = 946_684_800 * SECOND;

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// Reads an ISO 8601 date and time: `T` or a space, 0–9 fraction digits, `Z`, `±hh:mm` or no zone (taken as UTC).
/// Returns nothing when the text is not one or lies outside the years 1970 to 9999.
pub fn parse_event_time(text: &str) -> Option<Micros> {
    let text = text.trim();
    let zoned = DateTime::parse_from_rfc3339(text).map(|t| t.with_timezone(&Utc));
    let spaced = || DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z").map(|t| t.with_timezone(&Utc));
    let naive = |format| NaiveDateTime::parse_from_str(text, format).map(|t| t.and_utc());
    let time = zoned
        .or_else(|_| spaced())
        .or_else(|_| naive("%Y-%m-%dT%H:%M:%S%.f"))
        .or_else(|_| naive("%Y-%m-%d %H:%M:%S%.f"))
        .ok()?
        .timestamp_micros();
    (0..253_402_300_800 * SECOND).contains(&time).then_some(time)
}

/// The time of an event as its row has it: nothing where it cannot be read, or lies before 1970 or more than seven
/// days after the ingestion. Such an event is accepted as untimed.
pub fn event_time(text: Option<&str>, ingested_at: Micros) -> Option<Micros> {
    text.and_then(parse_event_time).filter(|time| *time <= ingested_at.saturating_add(7 * DAY))
}

/// The day, counted from 1970-01-01, under which a row is filed: that of the event when its time is plausible
/// (2000 … ingestion + 7 days), else that of the ingestion. A hostile date opens no partition of its own.
pub fn partition_day(event_time: Option<Micros>, ingested_at: Micros) -> i32 {
    let plausible = EARLIEST_PARTITION..=ingested_at.saturating_add(7 * DAY);
    let chosen = event_time.filter(|t| plausible.contains(t)).unwrap_or(ingested_at);
    i32::try_from(chosen.div_euclid(DAY)).unwrap_or(0)
}

/// RFC 3339 in UTC with milliseconds, for people and for JSON.
pub fn format(time: Micros) -> String {
    DateTime::from_timestamp_micros(time)
        .map(|t| t.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
        .unwrap_or_else(|| format!("{time}us"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_spell_times_in_many_ways() {
        let expected = Some(1_795_463_132_749_511);
        for text in [
            "2026-11-23T19:45:32.749511+00:00",
            "2026-11-23T19:45:32.749511Z",
            "2026-11-23 19:45:32.749511Z",
            "2026-11-23T19:45:32.749511",
            " 2026-11-23 19:45:32.749511 ",
            "2026-11-23T20:45:32.749511499+01:00",
            "2026-11-23 14:15:32.749511-05:30",
        ] {
            assert_eq!(parse_event_time(text), expected, "{text}");
        }
        assert_eq!(parse_event_time("2026-11-23T19:45:32"), Some(1_795_463_132_000_000));
    }

    #[test]
    fn what_is_not_a_time_is_none() {
        for text in ["", "yesterday", "2026-13-01T00:00:00Z", "1969-12-31T23:59:59Z", "2026-11-23", "99999-01-01T00:00:00Z"] {
            assert_eq!(parse_event_time(text), None, "{text}");
        }
    }

    #[test]
    fn an_event_from_the_far_future_is_untimed() {
        let at = |text| event_time(Some(text), 1_795_463_132_000_000);
        assert!(at("2026-11-30T19:45:32Z").is_some());
        assert_eq!((at("2026-11-30T19:45:33Z"), at("9999-01-01T00:00:00Z"), event_time(None, 0)), (None, None, None));
    }

    #[test]
    fn an_implausible_event_time_does_not_choose_the_partition() {
        let now = 1_795_463_132_000_000;
        let today = (now / DAY) as i32;
        assert_eq!(partition_day(None, now), today);
        assert_eq!(partition_day(Some(now - 3 * DAY), now), today - 3);
        assert_eq!(partition_day(Some(now + 7 * DAY), now), today + 7);
        assert_eq!(partition_day(Some(now + 7 * DAY + 1), now), today);
        assert_eq!(partition_day(Some(EARLIEST_PARTITION - 1), now), today);
        assert_eq!(partition_day(Some(EARLIEST_PARTITION), now), 10_957);
    }
}
