//! Looking on from outside, without a group.

use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;

use crate::Result;
use crate::client::{ANSWER, base, now};

/// How often it is looked. One request each time, which an idle broker answers in a fraction of a millisecond.
const EVERY: Duration = Duration::from_millis(10);

fn onlooker(broker: &str) -> Result<BaseConsumer> {
    let mut config = base(broker);
    Ok(config.set("group.id", "kafka_loop.onlooker").set("enable.auto.commit", "false").create()?)
}

fn partitions(consumer: &BaseConsumer, topic: &str, offset: Offset) -> Result<TopicPartitionList> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        list.add_partition_offset(topic, partition.id(), offset)?;
    }
    if list.count() == 0 { Err(format!("there is no topic {topic}").into()) } else { Ok(list) }
}

/// Where each partition ends.
fn ends(consumer: &BaseConsumer, list: &TopicPartitionList) -> Result<Vec<i64>> {
    let found = consumer.offsets_for_times(list.clone(), ANSWER)?;
    Ok(found.elements().iter().map(|one| one.offset().to_raw().unwrap_or(0).max(0)).collect())
}

/// Prints when the first record was seen, and when there were `count`, with how many there were then.
pub fn watch(broker: &str, topic: &str, count: i64, seconds: u64) -> Result<()> {
    let consumer = onlooker(broker)?;
    // The time "end", which the protocol asks for by the same number.
    let list = partitions(&consumer, topic, Offset::End)?;
    let (until, mut first) = (Instant::now() + Duration::from_secs(seconds), None);
    loop {
        let (there, at) = (ends(&consumer, &list)?.iter().sum::<i64>(), now());
        if there > 0 && first.is_none() {
            first = Some((at, there));
        }
        if let Some((first_at, first_count)) = first.filter(|_| there >= count) {
            let (first, last) = (json!({ "at": first_at, "count": first_count }), json!({ "at": at, "count": there }));
            println!("{}", json!({ "topic": topic, "first": first, "last": last }));
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("{topic} has {there} of {count} records after {seconds} s").into());
        }
        std::thread::sleep(EVERY);
    }
}

/// Prints `MILLISECONDS PARTITION KEY` of each record: when it was appended, and where its key belongs among so many
/// partitions.
pub fn times(broker: &str, topic: &str, of: u32) -> Result<()> {
    let consumer = onlooker(broker)?;
    let list = partitions(&consumer, topic, Offset::Beginning)?;
    let mut left: i64 = ends(&consumer, &partitions(&consumer, topic, Offset::End)?)?.iter().sum();
    consumer.assign(&list)?;
    while left > 0 {
        let message = consumer.poll(ANSWER).ok_or_else(|| format!("{left} records of {topic} did not come"))??;
        let key = message.key().unwrap_or_default();
        let at = message.timestamp().to_millis().unwrap_or(0);
        println!("{at} {} {}", (murmur2(key) & 0x7fff_ffff) % of, String::from_utf8_lossy(key));
        left -= 1;
    }
    Ok(())
}

/// The hash by which Kafka's clients choose a partition (org.apache.kafka.common.utils.Utils.murmur2).
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in words.by_ref() {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |last, byte| last << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::murmur2;

    #[test]
    fn keys_go_where_kafka_puts_them() {
        // From Kafka's own UtilsTest.
        let known: [(&str, i32); 4] =
            [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536), ("abc", 479470107)];
        for (key, hash) in known {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }
}
