//! Whether the machine has what a run needs, before anything starts.

use std::path::Path;

use super::{LogKind, Options, drive, repeats};
use crate::failure::Failure;
use crate::proc;
use crate::suite::{Drive, Of, Spec};

/// The block of a file system: no file and no directory takes less.
const BLOCK: u64 = 4_096;
/// The directories that a file of the preset `xact` has to itself: that of its event, and the one above.
const DIRECTORIES: u64 = 2;
/// What an event takes in the log, on its way through all topics.
const IN_LOG: u64 = 1_400;
/// What it takes in the tables, with the files that merges have left for readers of older versions.
const IN_TABLES: u64 = 1_600;
/// What a soak's files may be at once: they are removed as soon as their rows were seen.
const OF_A_SOAK: u64 = 60_000;
/// What is wanted besides.
const SPARE: u64 = 512 << 20;
/// Memory of one worker, of the broker, and of the rest.
const WORKER: u64 = 128 << 20;
const BROKER: u64 = 768 << 20;
const REST: u64 = 256 << 20;
/// What the harness remembers of each row of a run, while it grows and is copied once.
const OF_A_ROW: u64 = 48;

/// Where a run puts what it makes.
pub(super) struct Spots<'a> {
    /// The log, if it is ours.
    pub(super) work: &'a Path,
    pub(super) store: &'a Path,
    pub(super) tables: &'a Path,
}

/// What something takes on a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Room {
    bytes: u64,
    /// Files and directories.
    files: u64,
}

impl Room {
    fn and(self, other: Room) -> Room {
        Room { bytes: self.bytes + other.bytes, files: self.files + other.files }
    }
}

/// Fails when disk, files or memory are short.
///
/// # Errors
/// With how much is there, how much is needed, and the remedy.
pub(super) fn room(chosen: &[&Spec], options: &Options, spots: &Spots<'_>) -> Result<(), Failure> {
    let messages: u64 = chosen.iter().map(|spec| messages(spec, options)).sum();
    let in_log = if options.brokers.is_none() { messages * IN_LOG } else { 0 };
    let files = chosen.iter().map(|spec| of(spec, options)).fold(Room::default(), Room::and);
    let wanted = [
        (spots.store, files),
        (spots.work, Room { bytes: in_log, files: 0 }),
        (spots.tables, Room { bytes: messages * IN_TABLES, files: 0 }),
    ];
    // What is on one file system adds up.
    for (spot, _) in wanted {
        let here = |(other, _): &&(&Path, Room)| proc::is_same_disk(spot, other);
        let all = wanted.iter().filter(here).map(|(_, room)| *room).fold(Room { bytes: SPARE, files: 0 }, Room::and);
        disk(spot, all)?;
    }
    memory(chosen, options)
}

fn disk(spot: &Path, wanted: Room) -> Result<(), Failure> {
    let Some((free, inodes)) = proc::room(spot) else { return Ok(()) };
    let at = spot.display();
    if free < wanted.bytes {
        let what = format!("{at} has room for {} MB, and {} MB may be needed", mb(free), mb(wanted.bytes));
        return Err(Failure::Missing(format!(
            "{what}: free some, name another place by --out, --store or --tables, or take fewer benchmarks"
        )));
    }
    // Some file systems make room for names as they need it, and say 0.
    if inodes > 0 && inodes < wanted.files {
        let what = format!("{at} has room for {inodes} more files, and {} may be needed", wanted.files);
        return Err(Failure::Missing(format!("{what}: name another place by --out or --store")));
    }
    Ok(())
}

fn memory(chosen: &[&Spec], options: &Options) -> Result<(), Failure> {
    let processes = |spec: &&Spec| match options.log {
        LogKind::Kafka => spec.workers(options.tier).values().sum::<u32>(),
        LogKind::Embedded => 1,
    };
    let most = u64::from(chosen.iter().map(processes).max().unwrap_or(0));
    let rows = chosen.iter().map(|spec| drive::messages(spec, options)).max().unwrap_or(0) * OF_A_ROW;
    let broker = if options.log == LogKind::Kafka && options.brokers.is_none() { BROKER } else { 0 };
    let need = most * WORKER + broker + REST + rows;
    match proc::memory_free_bytes() {
        Some(free) if free < need => Err(Failure::Missing(format!(
            "{} MB of memory are free, and {} MB may be needed by {most} workers and what they work with: end other programs, or take fewer benchmarks",
            mb(free),
            mb(need)
        ))),
        _ => Ok(()),
    }
}

fn messages(spec: &Spec, options: &Options) -> u64 {
    drive::messages(spec, options) * u64::from(repeats(spec, options))
}

/// What the files of a benchmark take at most.
fn of(spec: &Spec, options: &Options) -> Room {
    let files = match (spec.load.of, spec.drive) {
        (Of::Results, _) => 0,
        (_, Drive::Soak) => messages(spec, options).min(OF_A_SOAK),
        _ => messages(spec, options),
    };
    let each = (spec.load.file_bytes.div_ceil(BLOCK) + DIRECTORIES) * BLOCK;
    Room { bytes: files * each, files: files * (1 + DIRECTORIES) }
}

fn mb(bytes: u64) -> u64 {
    bytes / 1_000_000
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::model::Tier;
    use crate::process::Binary;
    use crate::suite::find;

    fn options(soak: Duration) -> Options {
        Options {
            names: Vec::new(),
            tier: Tier::Release,
            out: PathBuf::from("."),
            brokers: None,
            store: None,
            tables: None,
            log: LogKind::Embedded,
            repeats: None,
            soak,
            binary: Binary { harness: PathBuf::new(), tested: PathBuf::new() },
            command: Vec::new(),
            scale: 1.0,
            fault: None,
        }
    }

    #[test]
    fn a_disk_without_room_is_said_before_anything_starts() {
        let (soak, latency) = (find("soak").expect("it is there"), find("end_to_end_latency").expect("it is there"));
        // A file a millisecond for a thousand years.
        let long = options(Duration::from_secs(1_000 * 365 * 86_400));
        let here = Path::new(".");
        let spots = Spots { work: here, store: here, tables: here };
        let said = room(&[soak], &long, &spots).expect_err("no disk is as large").to_string();
        assert!(said.contains("has room for") && said.contains("--store"), "{said}");
        assert!(room(&[latency], &options(Duration::from_secs(1)), &spots).is_ok(), "this machine runs tests");
    }

    #[test]
    fn what_is_needed_follows_messages_files_and_repeats() {
        let results = find("result_processor_throughput").expect("it is there");
        let options = Options { repeats: Some(2), ..options(Duration::ZERO) };
        assert_eq!(of(results, &options), Room::default(), "results have no files");
        assert_eq!(messages(results, &options), 20_000);
        let downloads = find("download_worker_throughput").expect("it is there");
        assert_eq!(of(downloads, &options), Room { bytes: 10_000 * 5 * BLOCK, files: 30_000 }, "two directories for each");
        let hour = Options { repeats: None, soak: Duration::from_secs(3_600), ..options };
        let soak = find("soak").expect("it is there");
        assert_eq!((messages(soak, &hour), of(soak, &hour).files), (3_600_000, 3 * OF_A_SOAK), "files do not stay");
    }
}
