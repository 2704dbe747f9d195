//! One writer at a time: an advisory lock on the file `lock` beside the database, which tells who holds it.
//!
//! The kernel gives the lock back when its holder ends, however it ends; the file stays.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use longshore_stages::ports::{Clock, LogError, SystemClock};

use crate::error;

/// The lock, held until dropped.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock of a directory, or says who has it.
    pub(crate) fn take(dir: &Path) -> Result<Self, LogError> {
        let path = dir.join("lock");
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(|e| error::io(&path, "cannot open the lock file", &e))?;
        match patiently(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(dir, &mut file)),
            Err(TryLockError::Error(e)) => return Err(error::io(&path, "cannot lock it (a local file system is needed)", &e)),
        }
        sign(&mut file).map_err(|e| error::io(&path, "cannot write the lock file", &e))?;
        Ok(Self { _file: file })
    }
}

/// How long a writer waits for onlookers, who touch the lock for microseconds.
const PATIENCE: Duration = Duration::from_millis(100);

fn patiently(file: &File) -> Result<(), TryLockError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(PATIENCE / 20),
            other => return other,
        }
    }
}

/// Who has the log of a directory open for writing, as text; nothing when nobody has. It touches the lock for
/// microseconds, which a writer that starts just then waits out.
///
/// # Errors
/// When there is a lock that cannot be read.
pub fn writer_of(dir: &Path) -> Result<Option<String>, LogError> {
    let path = dir.join("lock");
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(error::io(&path, "cannot open the lock file", &e)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(holder(&mut file))),
        Err(TryLockError::Error(e)) => Err(error::io(&path, "cannot look at the lock", &e)),
    }
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    let since = longshore_core::time::format(SystemClock.now());
    writeln!(file, "process {} since {since}", std::process::id())
}

fn held(dir: &Path, file: &mut File) -> LogError {
    let holder = holder(file);
    LogError::Fatal(format!(
        "the log in {} is in use by {holder}: only one process may write to it: wait until that one ends, stop it, or use another directory",
        dir.display()
    ))
}

fn holder(file: &mut File) -> String {
    let mut holder = String::new();
    let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
    (if known { holder.trim() } else { "another process" }).to_owned()
}
