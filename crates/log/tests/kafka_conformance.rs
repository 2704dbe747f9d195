//! The conformance suite over Apache Kafka: a broker of its own, which ends with the tests.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use longshore_log::conformance::Harness;
use longshore_log::kafka::{GroupProtocol, KafkaLog, Settings};
use longshore_sim::services::kafka;
use longshore_stages::ports::{Log, LogView};

/// Groups are apart by their prefix: each case has the broker to itself.
struct OnKafka {
    settings: Settings,
    log: Arc<KafkaLog>,
}

/// The groups that the suite reads with.
const GROUPS: [&str; 5] = ["g", "first", "second", "new", "other"];

async fn of(protocol: GroupProtocol) -> OnKafka {
    let address = tokio::task::spawn_blocking(|| kafka::shared().address().to_owned()).await.unwrap();
    let group_prefix = format!("suite-{}", uuid::Uuid::new_v4());
    let settings = Settings { group_prefix, protocol, ..Settings::new(&address) };
    let log = Arc::new(KafkaLog::new(settings.clone()).unwrap());
    OnKafka { settings, log }
}

#[async_trait]
impl Harness for OnKafka {
    fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    fn view(&self) -> Arc<dyn LogView> {
        Arc::new(self.log.view(Box::new(|topic: &str| {
            let ours = !topic.starts_with("__");
            GROUPS.iter().filter(|_| ours).map(|group| (*group).to_owned()).collect()
        })))
    }

    async fn reopen(&mut self) {
        self.log = Arc::new(KafkaLog::new(self.settings.clone()).unwrap());
    }
}

/// With the protocol that every broker knows.
mod classic {
    use super::*;

    async fn kafka() -> OnKafka {
        of(GroupProtocol::Classic).await
    }

    longshore_log::conformance!(kafka);
}

/// With the broker's own assignments (KIP-848).
mod consumer {
    use super::*;

    async fn kafka() -> OnKafka {
        of(GroupProtocol::Consumer).await
    }

    longshore_log::conformance!(kafka);
}
