//! Records as the client has them, and as the stages do.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use longshore_core::time::Micros;
use longshore_stages::ports::{Message, Partition, Received};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders, Timestamp};

use super::cluster::Place;

/// 2000-01-01: a record that claims to be older has no time.
const OLDEST: Micros = 946_684_800_000_000;

/// A partition as the client names it.
pub(super) fn place(partition: &Partition) -> Place {
    (partition.topic.to_string(), i32::try_from(partition.index).unwrap_or(i32::MAX))
}

/// A partition as the stages name it.
pub(super) fn partition(topic: &str, index: i32) -> Partition {
    Partition { topic: topic.into(), index: u32::try_from(index).unwrap_or(0) }
}

/// A copy of a record, which outlives the client's own.
pub(super) fn received(message: &BorrowedMessage<'_>) -> Received {
    let owned = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
    let headers = message.headers().map(|headers| {
        let header = |header: Header<'_, &[u8]>| (header.key.to_owned(), owned(header.value).unwrap_or_default());
        headers.iter().map(header).collect()
    });
    Received {
        offset: u64::try_from(message.offset()).unwrap_or(0),
        appended_at: taken(message.timestamp(), now()),
        message: Message { key: owned(message.key()), value: owned(message.payload()), headers: headers.unwrap_or_default() },
    }
}

/// When the log took a record. A time that its producer gave counts if it can be true.
fn taken(timestamp: Timestamp, now: Micros) -> Micros {
    let (millis, by_producer) = match timestamp {
        Timestamp::LogAppendTime(millis) => (millis, false),
        Timestamp::CreateTime(millis) => (millis, true),
        Timestamp::NotAvailable => return now,
    };
    let taken = millis.saturating_mul(1_000);
    match by_producer {
        true if taken < OLDEST || taken > now => now,
        _ => taken,
    }
}

fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The headers of a message for the client; nothing where there are none.
pub(super) fn headers(message: &Message) -> Option<OwnedHeaders> {
    if message.headers.is_empty() {
        return None;
    }
    let all = OwnedHeaders::new_with_capacity(message.headers.len());
    let all = message.headers.iter().fold(all, |all, (key, value)| all.insert(Header { key, value: Some(value.as_ref()) }));
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_a_producer_counts_if_it_can_be_true_and_the_brokers_always() {
        let now = 1_800_000_000_000_000;
        let earlier = now / 1_000 - 5;
        assert_eq!(taken(Timestamp::CreateTime(earlier), now), earlier * 1_000);
        for wrong in [-1, 0, now, i64::MAX] {
            assert_eq!(taken(Timestamp::CreateTime(wrong), now), now, "{wrong}");
        }
        assert_eq!(taken(Timestamp::LogAppendTime(7), now), 7_000);
        assert_eq!(taken(Timestamp::NotAvailable, now), now);
    }
}
