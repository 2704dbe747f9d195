//! The log of a deployment, open: the embedded one, or the one on Kafka.

use std::sync::Arc;

use anyhow::Result;
use longshore_log::EmbeddedLog;
use longshore_log::kafka::KafkaLog;
use longshore_stages::ports::{Log, LogView};

use crate::place::{LogPlace, Place};

/// An open log.
pub(crate) enum OpenLog {
    /// Of which this process is the only writer.
    Embedded(Arc<EmbeddedLog>),
    /// Which many share.
    Kafka(KafkaLog),
}

impl OpenLog {
    /// Opens the log; of one on Kafka nothing is asked yet.
    pub(crate) fn open(place: &LogPlace) -> Result<Self> {
        Ok(match place {
            LogPlace::Embedded(directory) => OpenLog::Embedded(Arc::new(EmbeddedLog::open(directory)?)),
            LogPlace::Kafka(settings) => OpenLog::Kafka(KafkaLog::new((**settings).clone())?),
        })
    }

    /// The log as the stages use it.
    pub(crate) fn log(&self) -> Arc<dyn Log> {
        match self {
            OpenLog::Embedded(log) => log.clone(),
            OpenLog::Kafka(log) => Arc::new(log.clone()),
        }
    }

    /// The log as onlookers see it.
    pub(crate) fn view(&self, place: &Place) -> Arc<dyn LogView> {
        match self {
            OpenLog::Embedded(log) => log.clone(),
            OpenLog::Kafka(log) => place.view_of(log),
        }
    }

    /// Whether other processes work on it as well.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, OpenLog::Kafka(_))
    }

    /// Gives the embedded log back.
    pub(crate) async fn close(&self) -> Result<()> {
        match self {
            OpenLog::Embedded(log) => Ok(log.close().await?),
            OpenLog::Kafka(_) => Ok(()),
        }
    }
}
