//! What a client of the broker tells us unasked: log lines, errors, rebalances, commits.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use crate::catalog::locked;

/// Passes on what the library says, for clients that do nothing but ask.
#[derive(Debug, Default)]
pub(super) struct Told {
    count: AtomicU64,
    last: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

impl Told {
    /// How often anything was told, for who waits until nothing is left to hear.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn heard(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// The last error since a broker last answered, with the library's words on it.
    pub(super) fn last_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        locked(&self.last).clone()
    }

    /// A broker has answered.
    pub(super) fn answered(&self) {
        *locked(&self.last) = None;
    }

    fn line(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.heard();
        // Which of our settings a producer or a consumer does not look at is no news.
        if facility == "CONFWARN" {
            return;
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::warn!(target: "longshore_log::librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
                tracing::info!(target: "longshore_log::librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "longshore_log::librdkafka", facility, "{message}");
            }
        }
    }

    fn failure(&self, error: &KafkaError, reason: &str) {
        self.heard();
        tracing::debug!(%error, reason, "the Kafka client reports an error");
        // That all brokers are down follows from each one's reason, which says more.
        if let Some(code) = error.rdkafka_error_code().filter(|code| *code != RDKafkaErrorCode::AllBrokersDown) {
            *locked(&self.last) = Some((code, reason.to_owned()));
        }
    }
}

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.failure(&error, reason);
    }
}

impl ConsumerContext for Told {}

/// What the group wants, to be answered by the thread that polls.
#[derive(Debug)]
pub(super) enum Rebalance {
    Assign(TopicPartitionList),
    /// Given up, or lost already: then nobody waits for us.
    Revoke {
        partitions: TopicPartitionList,
        lost: bool,
    },
}

/// The end of a commit.
#[derive(Debug)]
pub(super) struct CommitEnd {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) error: Option<RDKafkaErrorCode>,
}

/// What a member of a group is told. Callbacks run in the thread that polls; they note, and the thread acts.
#[derive(Debug, Default)]
pub(super) struct MemberContext {
    pub(super) told: Told,
    pub(super) rebalances: Mutex<VecDeque<Rebalance>>,
    pub(super) commits: Mutex<Vec<CommitEnd>>,
    /// Nobody answers rebalances any more: they are agreed to at once.
    pub(super) closing: AtomicBool,
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.told.line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.told.failure(&error, reason);
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        self.told.heard();
        let assign = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            let nothing = TopicPartitionList::new();
            let agreed = if assign { take(consumer, &nothing) } else { give(consumer, partitions) };
            if let Err(error) = agreed {
                tracing::debug!(%error, "leaving a group");
            }
            return;
        }
        let partitions = partitions.clone();
        let rebalance = match assign {
            true => Rebalance::Assign(partitions),
            false => Rebalance::Revoke { partitions, lost: consumer.assignment_lost() },
        };
        locked(&self.rebalances).push_back(rebalance);
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        self.told.heard();
        let whole = result.err().and_then(|error| error.rdkafka_error_code());
        let ends = offsets.elements().into_iter().map(|element| CommitEnd {
            topic: element.topic().to_owned(),
            partition: element.partition(),
            offset: element.offset().to_raw().unwrap_or(-1),
            error: element.error().err().and_then(|error| error.rdkafka_error_code()).or(whole),
        });
        locked(&self.commits).extend(ends);
    }
}

/// Takes partitions over, in the way of the group's protocol.
pub(super) fn take(consumer: &BaseConsumer<MemberContext>, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(partitions),
    }
}

/// Gives partitions up, in the way of the group's protocol.
pub(super) fn give(consumer: &BaseConsumer<MemberContext>, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    }
}
