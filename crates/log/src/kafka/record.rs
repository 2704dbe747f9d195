//! Records as the client has them, and as the stages do.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use longshore_core::time::Micros;
use longshore_stages::ports::{Message, Partition, Received};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders, Timestamp};

use super::cluster::Place;

/// 2000-01-01: a record that claims to be older has no time.
const OLDEST: Micros = 946_684_800_000_000;

/// Of the memory that copies share: what one of them that is kept holds back at most.
const BLOCK_BYTES: usize = 64 << 10;

/// A partition as the client names it.
pub(super) fn place(partition: &Partition) -> Place {
    (partition.topic.to_string(), i32::try_from(partition.index).unwrap_or(i32::MAX))
}

/// A partition as the stages name it.
pub(super) fn partition(topic: &str, index: i32) -> Partition {
    Partition { topic: topic.into(), index: u32::try_from(index).unwrap_or(0) }
}

/// Copies records, so that they outlive the client's own. Small ones share blocks of memory: keys and values of a batch
/// come and go together. Headers are on their own, since they go on with the work that a record makes.
#[derive(Debug, Default)]
pub(super) struct Copier {
    block: BytesMut,
    /// The time when it was last asked for.
    now: Micros,
}

impl Copier {
    pub(super) fn received(&mut self, message: &BorrowedMessage<'_>) -> Received {
        let headers = message.headers().map(|headers| {
            let value = |value: Option<&[u8]>| value.map(Bytes::copy_from_slice).unwrap_or_default();
            headers.iter().map(|header: Header<'_, &[u8]>| (header.key.to_owned(), value(header.value))).collect()
        });
        let key = message.key().map(|key| self.copy(key));
        let value = message.payload().map(|value| self.copy(value));
        Received {
            offset: u64::try_from(message.offset()).unwrap_or(0),
            appended_at: self.taken(message.timestamp(), now),
            message: Message { key, value, headers: headers.unwrap_or_default() },
        }
    }

    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if self.block.capacity() < bytes.len() {
            self.block = BytesMut::with_capacity(BLOCK_BYTES.max(bytes.len()));
        }
        self.block.extend_from_slice(bytes);
        self.block.split().freeze()
    }

    /// When the log took a record. A time that its producer gave counts if it can be true.
    fn taken(&mut self, timestamp: Timestamp, clock: impl Fn() -> Micros) -> Micros {
        let (millis, by_producer) = match timestamp {
            Timestamp::LogAppendTime(millis) => (millis, false),
            Timestamp::CreateTime(millis) => (millis, true),
            Timestamp::NotAvailable => return clock(),
        };
        let taken = millis.saturating_mul(1_000);
        if !by_producer {
            return taken;
        }
        // Asking for the time costs more than all else here, and most records are older than the last answer.
        if taken > self.now {
            self.now = clock();
        }
        if (OLDEST..=self.now).contains(&taken) { taken } else { clock() }
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
        let (now, later) = (1_800_000_000_000_000, 1_800_000_000_500_000);
        let earlier = now / 1_000 - 5;
        let mut copier = Copier::default();
        assert_eq!(copier.taken(Timestamp::CreateTime(earlier), || now), earlier * 1_000);
        for wrong in [-1, 0, now, i64::MAX] {
            assert_eq!(copier.taken(Timestamp::CreateTime(wrong), || now), now, "{wrong}");
        }
        assert_eq!(copier.taken(Timestamp::LogAppendTime(7), || now), 7_000);
        assert_eq!(copier.taken(Timestamp::NotAvailable, || now), now);
        assert_eq!(copier.taken(Timestamp::CreateTime(later / 1_000), || later), later, "time goes on");
    }
}
