//! The file `log.db`: its schema, how it is created and how a connection is opened.
//!
//! | table | one row for |
//! |---|---|
//! | `topics(id, name, partitions, retention)` | a topic; `retention` is `forever` or `until_committed` |
//! | `topic_groups(topic_id, group_name)` | a group that must have committed before a topic's records may go |
//! | `partitions(id, topic_id, partition, begin, next_offset)` | a partition: the lowest offset kept and the next one to give |
//! | `records(id, appended_at, key, value, headers, crc)` | a record; `id` = partition id × 2^40 + offset, so one b-tree keeps each partition in order |
//! | `positions(group_name, partition_id, committed)` | a group's committed position |
//! | `state(clean)` | one row: whether the last writer closed the log |
//!
//! The view `log_records` shows records with topic, partition and offset spelled out. `application_id` is `LONG`,
//! `user_version` the version of this schema.
//!
//! The file is made under another name and renamed when complete: an empty or foreign `log.db` is damage, never a new log.
//! Opening for writing reads the header, the versions and the catalog; after an unclean stop a file below 64 MiB is also checked
//! whole (`quick_check`). Beyond that every record read is verified: its checksum, and that no offset is missing.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_stages::ports::LogError;
use rusqlite::{Connection, OpenFlags};

use crate::error;

const APPLICATION_ID: i64 = 0x4c4f_4e47;
const SCHEMA_VERSION: i64 = 1;
/// A file up to this size is checked whole after an unclean stop (about 0.1 s).
const CHECK_WHOLE_BELOW_BYTES: u64 = 64 << 20;
/// Pages of 4 KiB in the write-ahead log after which a commit moves them into the file: 16 MiB.
const CHECKPOINT_PAGES: u32 = 4_000;

const SCHEMA: &str = "
    CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL, retention TEXT NOT NULL) STRICT;
    CREATE TABLE topic_groups(topic_id INTEGER NOT NULL, group_name TEXT NOT NULL, PRIMARY KEY(topic_id, group_name)) STRICT, WITHOUT ROWID;
    CREATE TABLE partitions(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, partition INTEGER NOT NULL,
        begin INTEGER NOT NULL DEFAULT 0, next_offset INTEGER NOT NULL DEFAULT 0, UNIQUE(topic_id, partition)) STRICT;
    CREATE TABLE records(id INTEGER PRIMARY KEY, appended_at INTEGER NOT NULL, key BLOB, value BLOB, headers BLOB, crc INTEGER NOT NULL) STRICT;
    CREATE TABLE positions(group_name TEXT NOT NULL, partition_id INTEGER NOT NULL, committed INTEGER NOT NULL,
        PRIMARY KEY(group_name, partition_id)) STRICT, WITHOUT ROWID;
    CREATE TABLE state(clean INTEGER NOT NULL) STRICT;
    INSERT INTO state VALUES (1);
    CREATE VIEW log_records AS SELECT t.name AS topic, p.partition, r.id - (p.id << 40) AS offset, r.appended_at, r.key, r.value, r.headers
        FROM topics t JOIN partitions p ON p.topic_id = t.id JOIN records r ON r.id >= (p.id << 40) AND r.id < ((p.id + 1) << 40);
";

/// The database file of a directory.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("log.db")
}

/// The size of the write-ahead log beside a database file, in bytes.
pub(crate) fn wal_bytes(file: &Path) -> u64 {
    std::fs::metadata(wal(file)).map_or(0, |m| m.len())
}

fn wal(file: &Path) -> PathBuf {
    file.with_extension("db-wal")
}

/// Opens the log of a directory for writing, making it when there is none. The caller holds the directory's lock.
pub(crate) fn open_writer(dir: &Path) -> Result<Connection, LogError> {
    let file = path(dir);
    if !file.try_exists().map_err(|e| error::io(&file, "cannot look for it", &e))? {
        create(dir, &file)?;
    }
    let conn = connect(&file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let said = |e| error::sqlite(&file, "cannot open it", &e);
    tune_writer(&conn).map_err(said)?;
    check_unclean(&conn, &file)?;
    conn.execute("UPDATE state SET clean = 0", []).map_err(said)?;
    Ok(conn)
}

/// A connection for reading.
#[derive(Debug)]
pub(crate) struct Reader {
    /// The connection.
    pub(crate) conn: Connection,
    /// Whether it sees what a writer does later, so that it may be used again.
    pub(crate) lasting: bool,
}

/// Opens the log for reading beside its writer, in this process or another one.
///
/// A write-ahead log is read through a shared index file. When that neither exists nor can be made (the last writer closed the
/// log, and the directory is read-only to us) nothing is left to recover, and the file alone is the whole log for now.
pub(crate) fn open_reader(file: &Path) -> Result<Reader, LogError> {
    if !file.try_exists().map_err(|e| error::io(file, "cannot look for it", &e))? {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(error::io(file, "there is no log here", &missing));
    }
    match connect(file, OpenFlags::SQLITE_OPEN_READ_ONLY) {
        Ok(conn) => Ok(Reader { conn, lasting: true }),
        Err(_) if at_rest(file) => connect_immutable(file).map(|conn| Reader { conn, lasting: false }),
        Err(e) => Err(e),
    }
}

/// Nobody has the log open, and nothing is left to move into the file.
fn at_rest(file: &Path) -> bool {
    wal_bytes(file) == 0 && !file.with_extension("db-shm").exists()
}

fn connect(file: &Path, mode: OpenFlags) -> Result<Connection, LogError> {
    let said = |e| error::sqlite(file, "cannot open it", &e);
    let conn = Connection::open_with_flags(file, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(said)?;
    prepare(&conn).map_err(said)?;
    check_schema(&conn, file)?;
    Ok(conn)
}

fn connect_immutable(file: &Path) -> Result<Connection, LogError> {
    let escaped: String = file.to_string_lossy().chars().map(escape_uri).collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let conn = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
        .map_err(|e| error::sqlite(file, "cannot open it", &e))?;
    check_schema(&conn, file)?;
    Ok(conn)
}

fn escape_uri(c: char) -> String {
    match c {
        '?' | '#' | '%' => format!("%{:02X}", u32::from(c)),
        c => c.to_string(),
    }
}

fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::from_millis(250))?;
    conn.set_prepared_statement_cache_capacity(32);
    conn.pragma_update(None, "cache_size", -2_048)
}

fn tune_writer(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "cache_size", -8_192)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "journal_size_limit", 16 << 20)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
}

fn check_schema(conn: &Connection, file: &Path) -> Result<(), LogError> {
    let read = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let said = |e| error::sqlite(file, "cannot read its header", &e);
    if read("application_id").map_err(said)? != APPLICATION_ID {
        return Err(error::damaged(file, "this is not a log of longshore"));
    }
    let version = read("user_version").map_err(said)?;
    if version == SCHEMA_VERSION {
        return Ok(());
    }
    Err(LogError::Fatal(format!(
        "log {}: its format is {version}, this program knows {SCHEMA_VERSION}: use the program that wrote it",
        file.display()
    )))
}

fn check_unclean(conn: &Connection, file: &Path) -> Result<(), LogError> {
    let said = |e| error::sqlite(file, "cannot check it", &e);
    let clean = conn.query_row("SELECT clean FROM state", [], |row| row.get::<_, bool>(0)).map_err(said)?;
    let bytes = std::fs::metadata(file).map_or(0, |m| m.len());
    if clean || bytes >= CHECK_WHOLE_BELOW_BYTES {
        return Ok(());
    }
    let verdict = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)).map_err(said)?;
    if verdict == "ok" { Ok(()) } else { Err(error::damaged(file, verdict.replace('\n', " "))) }
}

/// Makes the file under another name, whole and synced, then gives it its name.
fn create(dir: &Path, file: &Path) -> Result<(), LogError> {
    let draft = dir.join("log.db.new");
    let said_io = |e| error::io(dir, "cannot create the log", &e);
    if wal_bytes(file) > 0 {
        return Err(error::damaged(file, "it is gone, but its write-ahead log is still beside it"));
    }
    for leftover in [draft.clone(), dir.join("log.db.new-wal"), dir.join("log.db.new-shm"), wal(file), dir.join("log.db-shm")] {
        remove_if_there(&leftover).map_err(said_io)?;
    }
    write_schema(&draft).map_err(|e| error::sqlite(&draft, "cannot create it", &e))?;
    File::open(&draft).and_then(|f| f.sync_all()).map_err(said_io)?;
    std::fs::rename(&draft, file).map_err(said_io)?;
    File::open(dir).and_then(|d| d.sync_all()).map_err(said_io)
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn write_schema(draft: &Path) -> rusqlite::Result<()> {
    let conn = Connection::open(draft)?;
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    conn.execute_batch(&format!("BEGIN; {SCHEMA} COMMIT;"))?;
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    conn.close().map_err(|(_, e)| e)
}
