//! How clients of the broker are configured: what is ours to decide, and what the user may say.

use std::time::Duration;

use longshore_core::secret::Secret;
use rdkafka::ClientConfig;

/// How members of a group agree on who has which partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupProtocol {
    /// The members decide, partitions move one by one (`cooperative-sticky`). Every broker knows it.
    #[default]
    Classic,
    /// The broker decides (KIP-848). Needs Apache Kafka 4.0 or newer.
    Consumer,
}

/// What the log on Kafka is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `host:port`, several with commas between.
    pub brokers: String,
    /// What the names of groups begin with, a dot after it.
    pub group_prefix: String,
    /// How groups agree.
    pub protocol: GroupProtocol,
    /// A name that this process alone has and keeps when it starts again: then a restart within the session's timeout
    /// moves no partition (KIP-345).
    pub instance_id: Option<String>,
    /// Settings for librdkafka, over ours. Some are refused, see [`reserved`].
    pub properties: Vec<(String, Secret)>,
}

/// Bytes that a consumer may have read ahead, over all of its partitions, about: more where they are many.
const PREFETCH_BYTES: usize = 4 << 20;
/// Bytes that may be read ahead of one partition, at least and at most.
const PREFETCH_OF_PARTITION: std::ops::RangeInclusive<usize> = 256 << 10..=2 << 20;
/// The largest record that is sent. Topics made by Longshore take as much.
pub const MAX_RECORD_BYTES: usize = 2 << 20;
/// Bytes that wait to be sent.
const QUEUE_KIB: usize = 32 << 10;
/// How long a record is tried before its append fails and is made again.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// Why the user may not set a property of librdkafka; nothing where he may.
///
/// What it says is a whole remedy, without the property's name.
pub fn reserved(property: &str) -> Option<&'static str> {
    Some(match property {
        "bootstrap.servers" | "metadata.broker.list" => "is what `log: kafka://…` says",
        "group.id" => "is made of kafka.group_prefix, the source and the stage",
        "group.instance.id" => "is set by kafka.instance_id",
        "group.protocol" => "is set by kafka.group_protocol",
        "partition.assignment.strategy" | "group.remote.assignor" => "is decided by kafka.group_protocol",
        "enable.auto.commit" | "enable.auto.offset.store" | "auto.commit.interval.ms" => {
            "would commit what is not done yet, and lose it in a crash"
        }
        "auto.offset.reset" | "topic.auto.offset.reset" => "would skip records in silence; Longshore stops and says so instead",
        "acks" | "request.required.acks" | "enable.idempotence" | "enable.gapless.guarantee" | "transactional.id" => {
            "would acknowledge what may still be lost; all brokers in sync acknowledge, always"
        }
        "allow.auto.create.topics" => "would make topics with wrong numbers; use longshore topics create",
        "delivery.report.only.error" | "enable.partition.eof" | "log.queue" | "log_level" | "partitioner" => "is needed as it is",
        _ => return None,
    })
}

/// Checks one property with the library that will use it: its name, and whether the value is one that it takes.
///
/// # Errors
/// What is wrong, without the value.
pub fn check_property(name: &str, value: &str) -> Result<(), String> {
    let made = ClientConfig::new().set(name, value).create_native_config();
    match made {
        Ok(_) => Ok(()),
        Err(rdkafka::error::KafkaError::ClientConfig(rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Err("librdkafka has no such setting; see its CONFIGURATION.md".to_owned())
        }
        Err(_) => Err("librdkafka does not take this value; see its CONFIGURATION.md".to_owned()),
    }
}

impl Settings {
    /// Of these brokers, with nothing else said.
    pub fn new(brokers: &str) -> Self {
        Settings {
            brokers: brokers.to_owned(),
            group_prefix: "longshore".to_owned(),
            protocol: GroupProtocol::default(),
            instance_id: None,
            properties: Vec::new(),
        }
    }

    /// The whole name of a group.
    pub fn group(&self, name: &str) -> String {
        if self.group_prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.group_prefix) }
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "longshore")
            .set("allow.auto.create.topics", "false")
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", "1000")
            .set_log_level(rdkafka::config::RDKafkaLogLevel::Info);
        config
    }

    fn finished(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.properties {
            config.set(name, value.expose());
        }
        config
    }

    /// A client that asks and manages.
    pub(super) fn admin(&self) -> ClientConfig {
        self.finished(self.base())
    }

    /// The client that appends: idempotent, acknowledged by all brokers in sync.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.base();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5")
            .set("message.max.bytes", MAX_RECORD_BYTES.to_string())
            .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string())
            .set("message.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string());
        self.finished(config)
    }

    /// A member of a group whose topics have this many partitions.
    pub(super) fn consumer(&self, group: &str, partitions: usize) -> ClientConfig {
        let ahead = (PREFETCH_BYTES / partitions.max(1)).clamp(*PREFETCH_OF_PARTITION.start(), *PREFETCH_OF_PARTITION.end());
        let mut config = self.reader(&self.group(group));
        config.set("queued.max.messages.kbytes", (ahead >> 10).to_string());
        match self.protocol {
            GroupProtocol::Classic => {
                config
                    .set("partition.assignment.strategy", "cooperative-sticky")
                    .set("session.timeout.ms", "10000")
                    .set("heartbeat.interval.ms", "1000");
            }
            GroupProtocol::Consumer => {
                config.set("group.protocol", "consumer");
            }
        }
        if let Some(instance) = &self.instance_id {
            config.set("group.instance.id", instance);
        }
        self.finished(config)
    }

    /// An onlooker, who joins no group.
    pub(super) fn onlooker(&self) -> ClientConfig {
        self.onlooker_at(&self.group("onlooker"))
    }

    /// One who looks at the positions of a group, by its whole name.
    pub(super) fn onlooker_at(&self, group: &str) -> ClientConfig {
        let mut config = self.reader(group);
        config
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", "8192")
            // A request that waits for records of one partition would hold up the next one's.
            .set("fetch.wait.max.ms", "10");
        self.finished(config)
    }

    fn reader(&self, group: &str) -> ClientConfig {
        let mut config = self.base();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("fetch.queue.backoff.ms", "5")
            // The library has one request under way for each broker. One that asks for partitions without records holds up those
            // for which there was no room when it was sent.
            .set("fetch.wait.max.ms", "100")
            // What is read ahead of one partition keeps the whole answer that it came with in memory.
            .set("fetch.max.bytes", (2 << 20).to_string())
            .set("fetch.message.max.bytes", (128 << 10).to_string());
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clients_are_made_of_settings_that_the_library_takes() {
        for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
            let instance_id = Some("worker-1".to_owned());
            let settings = Settings { protocol, instance_id, ..Settings::new("127.0.0.1:1") };
            for config in [settings.admin(), settings.producer(), settings.consumer("g", 12), settings.onlooker()] {
                assert!(config.create_native_config().is_ok(), "{config:?}");
            }
        }
    }

    #[test]
    fn what_would_lose_records_is_refused_and_what_the_library_does_not_know_is_said() {
        for property in ["enable.auto.commit", "acks", "auto.offset.reset", "group.id"] {
            assert!(reserved(property).is_some(), "{property}");
        }
        for property in ["security.protocol", "sasl.password", "session.timeout.ms", "linger.ms", "client.rack"] {
            assert_eq!(reserved(property), None, "{property}");
        }
        assert_eq!(check_property("session.timeout.ms", "6000"), Ok(()));
        assert!(check_property("session.timeout", "6000").is_err_and(|said| said.contains("no such setting")));
        let secret = check_property("sasl.mechanism.of.mine", "hunter2").expect_err("unknown");
        assert!(!secret.contains("hunter2") && check_property("session.timeout.ms", "soon").is_err());
    }
}
