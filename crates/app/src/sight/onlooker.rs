//! Whether anybody looks at what the stages do: a service has its sight, a batch has nobody, and pays for nothing.

use std::sync::Arc;

use longshore_lake::table::ExactTable;
use longshore_stages::ports::{Log, Origin, Store, Table};

use super::Sight;

/// Who looks.
pub(crate) enum Onlooker {
    /// Nobody: the ports stay as they are.
    Nobody,
    /// This one.
    Sight(Arc<Sight>),
}

impl Onlooker {
    /// See [`Sight::log`].
    pub(crate) fn log(&self, log: Arc<dyn Log>) -> Arc<dyn Log> {
        match self {
            Onlooker::Nobody => log,
            Onlooker::Sight(sight) => sight.log(log),
        }
    }

    /// See [`Sight::origin`].
    pub(crate) fn origin(&self, source: &str, origin: Arc<dyn Origin>) -> Arc<dyn Origin> {
        match self {
            Onlooker::Nobody => origin,
            Onlooker::Sight(sight) => sight.origin(source, origin),
        }
    }

    /// See [`Sight::store`].
    pub(crate) fn store(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        match self {
            Onlooker::Nobody => store,
            Onlooker::Sight(sight) => sight.store(store),
        }
    }

    /// See [`Sight::table`].
    pub(crate) fn table(&self, source: &str, kind: &str, table: ExactTable) -> Arc<dyn Table> {
        match self {
            Onlooker::Nobody => Arc::new(table),
            Onlooker::Sight(sight) => sight.table(source, kind, Arc::new(table)),
        }
    }
}
