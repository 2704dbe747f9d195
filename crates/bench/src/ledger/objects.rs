//! The objects of the rows, and what must not be there.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path};

use sha2::{Digest, Sha256};

use super::{Accounts, Bits, is_right};
use crate::content::hex;
use crate::error::Error;
use crate::generator::Expected;
use crate::reader::{COLUMNS, Follower, Seen};

/// Where the store keeps files that are not complete, on file systems that know none without a name.
const UPLOADS: &str = ".longshore-uploads";
/// What the names of files begin with that are written beside a table and have no place yet.
const TEMPORARY: &str = ".tmp-";
/// How much is read at once.
const PIECE: usize = 256 << 10;

/// What came of comparing objects with rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Of so many rows, one was checked; 1 is all.
    pub every: u64,
    /// Objects that were read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that are not there, or not as their row says, although the row is right.
    pub wrong: u64,
}

/// Compares one object with its row and removes it if they agree, with the two directories that an event of the preset
/// `xact` has to itself.
pub(super) fn check_and_remove(checked: &mut Checked, row: &Seen, expected: &Expected, store: &Path) -> Result<(), Error> {
    if let (true, Some(path)) = (compare(checked, row, expected, store)?, row.blob_path.as_deref()) {
        let object = store.join(path);
        std::fs::remove_file(&object).map_err(Error::file("remove", &object))?;
        let inside = |path: &&Path| !path.as_os_str().is_empty();
        let directories = Path::new(path).ancestors().skip(1).take_while(inside).take(2);
        // What else lies in a directory keeps it.
        directories.take_while(|path| std::fs::remove_dir(store.join(path)).is_ok()).for_each(drop);
    }
    Ok(())
}

/// Follows the table from its beginning once more, so that no path had to be kept.
pub(super) fn check(accounts: &Accounts, attachments: &Path, store: &Path, max_bytes: u64) -> Result<Checked, Error> {
    let all: u64 = accounts.parts.iter().map(|account| account.stored.set * account.load.plan().file_bytes).sum();
    let mut checked = Checked { every: all.div_ceil(max_bytes.max(1)).max(1), ..Checked::default() };
    let mut looked: Vec<Bits> = accounts.parts.iter().map(|account| Bits::new(account.load.plan().count)).collect();
    let (mut table, mut nth) = (Follower::open(attachments, &COLUMNS), 0_u64);
    loop {
        let rows = table.look()?;
        if rows.is_empty() {
            return Ok(checked);
        }
        for row in &rows {
            let Some((part, expected)) = accounts.find(row) else { continue };
            // A doubled row is another fault.
            if !looked[part].set(accounts.parts[part].nth(expected.number)) {
                continue;
            }
            nth += 1;
            if nth % checked.every == 0 {
                compare(&mut checked, row, &expected, store)?;
            }
        }
    }
}

/// Whether an object is in the store and as its row says; a row that is wrong itself was counted when it was seen.
fn compare(checked: &mut Checked, row: &Seen, expected: &Expected, store: &Path) -> Result<bool, Error> {
    let path = Path::new(row.blob_path.as_deref().unwrap_or_default());
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    let found = if inside { read(&store.join(path))? } else { None };
    let same = found
        .as_ref()
        .is_some_and(|(hash, bytes)| row.sha256.as_deref() == Some(hash) && row.bytes_downloaded == i64::try_from(*bytes).ok());
    checked.objects += 1;
    checked.bytes += found.map_or(0, |(_, bytes)| bytes);
    checked.wrong += u64::from(!same && is_right(expected, row));
    Ok(same)
}

/// The hash and the length of a file; nothing where there is none.
fn read(path: &Path) -> Result<Option<(String, u64)>, Error> {
    let mut file = match File::open(path) {
        Ok(file) if file.metadata().is_ok_and(|meta| meta.is_file()) => file,
        Ok(_) => return Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(Error::file("open", path)(error)),
    };
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        let length = file.read(&mut piece).map_err(Error::file("read", path))?;
        if length == 0 {
            return Ok(Some((hex(&hash.finalize()), bytes)));
        }
        hash.update(&piece[..length]);
        bytes += length as u64;
    }
}

/// Files that are in the store or beside the tables and are not complete.
pub(super) fn left_over(store: &Path, tables: &Path) -> Result<u64, Error> {
    let unfinished = files(&store.join(UPLOADS), |_| true)?;
    Ok(unfinished + files(tables, |name| name.starts_with(TEMPORARY))?)
}

/// How many files below a directory have such a name; none where there is no directory.
fn files(directory: &Path, named: fn(&str) -> bool) -> Result<u64, Error> {
    let failed = || Error::file("list", directory);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed()(error)),
    };
    let mut count = 0;
    for entry in entries {
        let entry = entry.map_err(failed())?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            count += files(&entry.path(), named)?;
        } else {
            count += u64::from(named(&entry.file_name().to_string_lossy()));
        }
    }
    Ok(count)
}
