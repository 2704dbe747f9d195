//! What a commit costs as a table grows: appends of some rows, maintained as the record stage does it.
//!
//!     cargo run --release -p longshore -p longshore-lake --example commit_cost -- DIR [VERSIONS [ROWS]]

use std::path::Path;
use std::time::{Duration, Instant};

use longshore_core::format::Stored;
use longshore_core::ids;
use longshore_core::inventory::Shape;
use longshore_core::row::Row;
use longshore_lake::durable::DiskSync;
use longshore_lake::table::{ExactTable, Options, Root};
use longshore_stages::ports::{Clock, SystemClock, Table};

/// Commits of which the median is shown together.
const SHOWN: u64 = 1_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let directory = args.next().ok_or("name a directory that is not there")?;
    let versions: u64 = args.next().map_or(Ok(10_000), |count| count.parse())?;
    let count: u64 = args.next().map_or(Ok(100), |count| count.parse())?;
    let shape = Shape::of("urls");
    let spec = shape.attachments_table();
    let root = Root::local(Path::new(&directory).join(&spec.name), DiskSync::Off)?;
    let table = ExactTable::open(root, spec, Options::default()).await?;
    println!("| commits | append, p50 ms | p99 ms | with maintenance, mean ms |\n|---|---:|---:|---:|");
    for from in (0..versions).step_by(usize::try_from(SHOWN)?) {
        let (mut appends, began) = (Vec::new(), Instant::now());
        for commit in from..versions.min(from + SHOWN) {
            let rows: Vec<Row> = (0..count).map(|n| row(&shape, commit * count + n)).collect();
            let began = Instant::now();
            let appended = table.append(&rows, &[]).await?;
            appends.push(began.elapsed());
            if appended.added as u64 != count {
                return Err(format!("{appended:?} of {count} new rows").into());
            }
            table.maintain().await?;
        }
        appends.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let (p50, p99) = (appends[appends.len() / 2], appends[appends.len() * 99 / 100]);
        println!("| {} | {:.2} | {:.2} | {:.2} |", from + SHOWN, ms(p50), ms(p99), ms(began.elapsed()) / appends.len() as f64);
    }
    table.close().await?;
    Ok(())
}

fn row(shape: &Shape, number: u64) -> Row {
    let url = format!("https://files.example.com/documents/{number:09}.pdf");
    let (id, now) = (ids::url_media_id(&url), SystemClock.now());
    let stored = Stored {
        v: 1,
        source: "urls".to_owned(),
        trace_id: id.to_string(),
        media_id: id,
        blob_path: format!("files.example.com/documents/{number:09}.pdf"),
        url,
        file_type: "PDF".to_owned(),
        content_type: Some("application/pdf".to_owned()),
        bytes_downloaded: 10_000 + number % 977,
        sha256: format!("{number:064x}"),
        etag: Some(format!("\"{number:x}\"")),
        attempts: 1,
        event_time: None,
        ingested_at: now,
        downloaded_at: now,
        columns: Default::default(),
    };
    shape.attachment_row(&stored, now)
}
