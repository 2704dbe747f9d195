//! One writer at a time: an advisory lock on the file `lock` beside the database, which tells who holds it.
//!
//! The kernel gives the lock back when its holder ends, however it ends; the file stays.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

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
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(dir, &mut file)),
            Err(TryLockError::Error(e)) => return Err(error::io(&path, "cannot lock it (a local file system is needed)", &e)),
        }
        sign(&mut file).map_err(|e| error::io(&path, "cannot write the lock file", &e))?;
        Ok(Self { _file: file })
    }
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    let since = longshore_core::time::format(SystemClock.now());
    writeln!(file, "process {} since {since}", std::process::id())
}

fn held(dir: &Path, file: &mut File) -> LogError {
    let mut holder = String::new();
    let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
    let holder = if known { holder.trim() } else { "another process" };
    LogError::Fatal(format!(
        "the log in {} is in use by {holder}: only one process may write to it: wait until that one ends, stop it, or use another directory",
        dir.display()
    ))
}
