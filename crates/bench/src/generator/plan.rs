//! What a generator is told to send.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What to send, to whom, and when. Message number `first` is the first; its intended time is that of the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorPlan {
    /// Who takes the messages.
    pub to: Target,
    /// The source, of the preset `xact`.
    pub source: String,
    /// What is sent.
    pub kind: Kind,
    /// Names this run in the messages' ids: letters and digits, so that no other run has the same.
    pub run: String,
    /// The number of the first message.
    #[serde(default)]
    pub first: u64,
    /// How many messages.
    pub count: u64,
    /// Messages a second by a schedule that is kept whatever becomes of them; none is as fast as possible.
    #[serde(default)]
    pub rate_per_s: Option<f64>,
    /// The intended time of the first message, in microseconds since 1970; none is half a second after the connection
    /// stands.
    #[serde(default)]
    pub start_unix_us: Option<i64>,
    /// The origin's URL, such as `http://127.0.0.1:8080`.
    pub origin: String,
    /// The size of each file.
    pub file_bytes: u64,
    /// How long the origin waits before the first byte of each file.
    #[serde(default)]
    pub origin_delay_ms: u64,
    /// Of so many messages, by their numbers, one names a file that is not there; none is none.
    #[serde(default)]
    pub missing_every: Option<u64>,
    /// For tests of the suite: a pause of the generator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall: Option<Stall>,
    /// For tests of the suite: the number of a message that is counted and not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lose: Option<u64>,
}

/// Who takes the messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The brokers of a Kafka cluster.
    Kafka {
        /// `host:port`, several with commas between.
        brokers: String,
        /// Further settings of librdkafka, such as those of security.
        #[serde(default)]
        properties: BTreeMap<String, String>,
    },
    /// A running service with an embedded log, over HTTP; events alone.
    Http {
        /// The service's URL, such as `http://127.0.0.1:9464`.
        url: String,
        /// The value of `http.token`, where there is one.
        #[serde(default)]
        token: Option<String>,
    },
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Events, as producers make them.
    Events,
    /// Tasks, as ingest makes them of these events.
    Tasks,
    /// Results, as download makes them of these tasks; their objects are not stored.
    Results,
}

/// A pause of the generator before a message; the schedule goes on meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// The number of the message.
    pub at: u64,
    /// How long.
    pub for_ms: u64,
}

impl GeneratorPlan {
    /// The numbers of its messages.
    pub fn numbers(&self) -> std::ops::Range<u64> {
        self.first..self.first.saturating_add(self.count)
    }

    /// How long after the start a message is intended to be sent, in microseconds; nothing without a schedule.
    pub fn due_us(&self, number: u64) -> Option<i64> {
        let rate = self.rate_per_s?;
        let nth = number.saturating_sub(self.first);
        Some((nth as f64 * 1_000_000.0 / rate) as i64)
    }
}
