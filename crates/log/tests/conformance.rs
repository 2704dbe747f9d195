//! The conformance suite over the embedded log.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use longshore_log::EmbeddedLog;
use longshore_log::conformance::Harness;
use longshore_stages::ports::{Log, LogView};

struct Embedded {
    dir: tempfile::TempDir,
    log: Arc<EmbeddedLog>,
}

async fn embedded() -> Embedded {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(EmbeddedLog::open(dir.path()).unwrap());
    Embedded { dir, log }
}

#[async_trait]
impl Harness for Embedded {
    fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    fn view(&self) -> Arc<dyn LogView> {
        self.log.clone()
    }

    async fn reopen(&mut self) {
        self.log.close().await.unwrap();
        self.log = Arc::new(EmbeddedLog::open(self.dir.path()).unwrap());
    }
}

longshore_log::conformance!(embedded);
