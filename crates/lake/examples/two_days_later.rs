//! Makes the tables of a batch directory look as they will in two days: merged, checkpointed, and vacuumed of all that
//! left them before. `dev/test` does this before other people's readers open the tables.
//!
//!     cargo run -p longshore-lake --example two_days_later -- DIR/tables

use std::path::Path;
use std::sync::Arc;

use longshore_core::inventory::Shape;
use longshore_core::time::{DAY, Micros};
use longshore_lake::durable::DiskSync;
use longshore_lake::table::{ExactTable, Options, Root};
use longshore_stages::ports::{Clock, SystemClock};

struct TwoDaysAhead;

impl Clock for TwoDaysAhead {
    fn now(&self) -> Micros {
        SystemClock.now() + 2 * DAY
    }

    fn random(&self) -> u64 {
        SystemClock.random()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tables = std::env::args().nth(1).ok_or("name the directory of the tables")?;
    let mut deleted = 0;
    let shape = Shape::of("urls");
    for spec in [shape.attachments_table(), shape.failed_table(), shape.events_table()] {
        let (name, root) = (spec.name.clone(), Root::local(Path::new(&tables).join(&spec.name), DiskSync::On)?);
        let table = ExactTable::open(root, spec, Options { clock: Arc::new(TwoDaysAhead), ..Options::default() }).await?;
        let (compacted, checkpointed, vacuumed) =
            (table.compact_now().await?, table.checkpoint_now().await?, table.vacuum_now().await?);
        println!("{name}: {compacted:?}, {checkpointed:?}, {vacuumed:?}");
        deleted += vacuumed.files;
    }
    if deleted == 0 {
        return Err("nothing was vacuumed: the directory has never been compacted".into());
    }
    Ok(())
}
