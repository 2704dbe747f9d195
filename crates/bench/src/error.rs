//! Why an actor of a benchmark could not do its part.

use std::io;
use std::path::Path;

use rdkafka::error::KafkaError;

/// Why an actor could not do its part. Whatever it is, the run says nothing about the system.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan asks for what cannot be.
    #[error("the plan cannot be carried out: {0}")]
    Plan(String),
    /// A file, a socket or a stream.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried, and with what.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The Kafka client, or a broker.
    #[error("{doing} on Kafka: {source}")]
    Kafka {
        /// What was tried.
        doing: &'static str,
        /// What the client said.
        source: KafkaError,
    },
    /// Messages that the log or the service did not take.
    #[error("{0}")]
    Refused(String),
    /// A table that is not what the reader understands.
    #[error("the table at {table}: {what}")]
    Table {
        /// Its directory.
        table: String,
        /// What is there.
        what: String,
    },
}

impl Error {
    /// An error of the system while doing something.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Error::Io { doing, source }
    }

    /// The same of a file.
    pub(crate) fn file(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("cannot {doing} {}", path.display()))
    }

    /// An error of the Kafka client while doing something.
    pub(crate) fn kafka(doing: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Error::Kafka { doing, source }
    }
}
