//! The promises of the `Log` port as tests over any adapter.
//!
//! An adapter implements [`Harness`] and expands [`crate::conformance!`] in an integration test; each case then is a test of its own.
//! Cases panic with what was broken. None takes longer than a few seconds unless something hangs (then [`PATIENCE`] ends it).
#![allow(clippy::unwrap_used, missing_docs)]

mod groups;
mod records;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use longshore_stages::ports::{Consumer, Delivery, Epoch, Log, LogView, Message, Partition, Received, Retention, TopicSpec};

pub use groups::*;
pub use records::*;

/// How long a case waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long a case waits to see that something does not happen.
pub const QUIET: Duration = Duration::from_millis(100);

/// How the suite reaches an adapter.
#[async_trait]
pub trait Harness: Send {
    /// The log, open.
    fn log(&self) -> Arc<dyn Log>;
    /// An onlooker at the same log.
    fn view(&self) -> Arc<dyn LogView>;
    /// Closes the log (all handles from before are gone or useless) and opens it again on the same data.
    async fn reopen(&mut self);
}

/// Makes one test of each case: `conformance!(make)`, where `make` is an async function that returns a fresh [`Harness`].
#[macro_export]
macro_rules! conformance {
    ($make:path) => {
        $crate::conformance!(@cases $make:
            records_of_a_key_come_in_order, a_batch_outlives_a_restart, every_shape_of_message_comes_back,
            several_topics_in_one_subscription, eight_producers_lose_and_repeat_nothing, an_append_wakes_a_waiting_consumer,
            a_topic_exists_or_is_an_error, the_view_reads_without_taking_part,
            positions_of_groups_are_apart, without_a_position_reading_begins_at_the_beginning, what_was_not_committed_comes_again,
            a_position_never_moves_back, a_stale_epoch_changes_nothing, a_newcomer_waits_for_the_release,
            closing_gives_the_partitions_back, dropping_gives_the_partitions_back, a_paused_partition_is_silent_and_loses_nothing,
            paused_partitions_hold_up_no_other,
            next_may_be_cancelled
        );
    };
    (@cases $make:path: $($case:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let mut harness = $make().await;
                $crate::conformance::$case(&mut harness).await;
            }
        )+
    };
}

/// A name that no case has used.
fn fresh(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{what}.{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A new topic that keeps everything.
async fn topic(h: &dyn Harness, partitions: u32) -> String {
    let name = fresh("topic");
    let spec = TopicSpec { name: name.clone(), partitions, retention: Retention::Forever };
    h.log().ensure_topics(&[spec]).await.unwrap();
    name
}

fn message(key: &str, value: &str) -> Message {
    Message {
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![],
    }
}

/// `count` messages of as many keys, numbered.
fn numbered(count: usize) -> Vec<Message> {
    (0..count).map(|n| message(&format!("key-{n}"), &n.to_string())).collect()
}

fn text(received: &Received) -> String {
    String::from_utf8(received.message.value.clone().unwrap().to_vec()).unwrap()
}

/// A consumer together with what it was assigned and has read.
struct Reader {
    consumer: Box<dyn Consumer>,
    assigned: HashMap<Partition, (Epoch, u64)>,
    read: Vec<(Partition, Received)>,
}

impl Reader {
    async fn join(h: &dyn Harness, group: &str, topics: &[&str]) -> Self {
        let consumer = h.log().subscribe(group, topics).await.unwrap();
        Self { consumer, assigned: HashMap::new(), read: Vec::new() }
    }

    async fn next(&mut self) -> Delivery {
        let delivery = tokio::time::timeout(PATIENCE, self.consumer.next()).await.expect("nothing was delivered").unwrap();
        self.note(&delivery);
        delivery
    }

    fn note(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Assigned { partition, epoch, position } => {
                self.assigned.insert(partition.clone(), (*epoch, *position));
            }
            Delivery::Records { partition, epoch, records } => {
                assert!(!records.is_empty(), "an empty delivery");
                assert_eq!(
                    self.assigned.get(partition).expect("records before the assignment").0,
                    *epoch,
                    "records of another epoch"
                );
                self.read.extend(records.iter().map(|r| (partition.clone(), r.clone())));
            }
            Delivery::Revoked { partition, epoch } => {
                assert_eq!(self.assigned.remove(partition).expect("a revocation of what was not assigned").0, *epoch);
            }
        }
    }

    async fn until_assigned(&mut self, partitions: usize) {
        while self.assigned.len() < partitions {
            self.next().await;
        }
    }

    async fn until_read(&mut self, records: usize) {
        while self.read.len() < records {
            self.next().await;
        }
        assert_eq!(self.read.len(), records, "more than was written");
    }

    /// Nothing is delivered for a while.
    async fn stays_quiet(&mut self) {
        if let Ok(delivery) = tokio::time::timeout(QUIET, self.consumer.next()).await {
            panic!("nothing was due, but: {delivery:?}");
        }
    }

    /// Takes what comes until nothing comes for a while.
    async fn while_it_lasts(&mut self) {
        while let Ok(delivery) = tokio::time::timeout(QUIET, self.consumer.next()).await {
            self.note(&delivery.unwrap());
        }
    }

    async fn until_revoked(&mut self) -> (Partition, Epoch) {
        loop {
            if let Delivery::Revoked { partition, epoch } = self.next().await {
                return (partition, epoch);
            }
        }
    }

    async fn commit_all(&mut self) {
        let ends: HashMap<Partition, u64> = self.read.iter().map(|(p, record)| (p.clone(), record.offset + 1)).collect();
        for (partition, end) in ends {
            let (epoch, _) = self.assigned[&partition];
            self.consumer.commit(&partition, epoch, end).await.unwrap();
        }
    }

    fn texts(&self) -> Vec<String> {
        self.read.iter().map(|(_, record)| text(record)).collect()
    }
}

/// A group's committed position in the view.
async fn committed(h: &dyn Harness, group: &str, partition: &Partition) -> Option<u64> {
    let (_, positions) = h.view().state().await.unwrap();
    positions.iter().find(|p| p.group == group && p.partition == *partition).map(|p| p.committed)
}
