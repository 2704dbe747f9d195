//! Whether everything that was asked for is there, once, and how long it took.
//!
//! *Owns*: the accounts: for each message of the plans whether its row was seen, and the times until then.
//! *Does not own*: where rows come from ([`reader`](crate::reader)), what a file's bytes are ([`content`]).
//!
//! Memory: two bits for each message, and the histograms. Rows come in any order; none is kept.

mod objects;

use std::collections::BTreeMap;
use std::path::Path;

use crate::content;
use crate::error::Error;
use crate::generator::{Expected, Load};
use crate::model::{Distribution, Ledger};
use crate::reader::Seen;
use crate::times::Times;

pub use objects::Checked;

/// What the messages of a plan are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// They come before what is measured: they must all be there, and their times do not count.
    WarmUp,
    /// They are measured.
    Measured,
}

/// One of the plans of [`Accounts`], in the order in which they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part(usize);

/// The accounts of a run.
#[derive(Debug, Default)]
pub struct Accounts {
    parts: Vec<Account>,
    faults: Faults,
    times: Stretches,
}

/// The account of one plan.
#[derive(Debug)]
struct Account {
    load: Load,
    phase: Phase,
    start_unix_us: Option<i64>,
    acknowledged: u64,
    stored: Bits,
    failed: Bits,
}

#[derive(Debug, Default)]
struct Faults {
    doubled: u64,
    strange: u64,
    wrong_hash: u64,
    objects_checked: u64,
    left_over: u64,
}

/// The times of the measured messages.
#[derive(Debug, Default)]
struct Stretches {
    whole: Times,
    download: Times,
    record: Times,
    look: Times,
}

/// A bit for each message of a plan.
#[derive(Debug)]
struct Bits {
    words: Vec<u64>,
    set: u64,
}

impl Bits {
    fn new(count: u64) -> Self {
        Bits { words: vec![0; usize::try_from(count.div_ceil(64)).unwrap_or(0)], set: 0 }
    }

    fn at(&self, nth: u64) -> bool {
        self.words.get((nth / 64) as usize).is_some_and(|word| word & (1 << (nth % 64)) != 0)
    }

    /// Sets a bit; false where it was set.
    fn set(&mut self, nth: u64) -> bool {
        let new = !self.at(nth);
        if new && let Some(word) = self.words.get_mut((nth / 64) as usize) {
            *word |= 1 << (nth % 64);
            self.set += 1;
        }
        new
    }
}

impl Account {
    /// A row's number among the plan's messages, from 0.
    fn nth(&self, number: u64) -> u64 {
        number - self.load.plan().first
    }

    fn missing(&self) -> u64 {
        (0..self.acknowledged).filter(|nth| !self.stored.at(*nth) && !self.failed.at(*nth)).count() as u64
    }

    /// When a message was intended to be sent, in microseconds since 1970.
    fn intended(&self, number: u64) -> Option<i64> {
        Some(self.start_unix_us? + self.load.plan().due_us(number)?)
    }
}

impl Accounts {
    /// Adds the messages of a plan to what is expected. The runs of all plans differ in their names, or in their numbers.
    pub fn expect(&mut self, load: Load, phase: Phase) -> Part {
        let (count, start_unix_us) = (load.plan().count, load.plan().start_unix_us);
        let (stored, failed) = (Bits::new(count), Bits::new(count));
        self.parts.push(Account { load, phase, start_unix_us, acknowledged: count, stored, failed });
        Part(self.parts.len() - 1)
    }

    /// When the schedule of a plan began, in microseconds since 1970, where the plan does not say. Rows that come before
    /// this is known have no times.
    pub fn started(&mut self, part: Part, unix_us: i64) {
        if let Some(account) = self.parts.get_mut(part.0) {
            account.start_unix_us = Some(unix_us);
        }
    }

    /// How many messages of a plan were acknowledged, its first ones; all of them unless this is said.
    pub fn acknowledged(&mut self, part: Part, sent: u64) {
        if let Some(account) = self.parts.get_mut(part.0) {
            account.acknowledged = sent.min(account.load.plan().count);
        }
    }

    /// Takes a row of `attachments`.
    pub fn stored(&mut self, row: &Seen) {
        let Some((part, expected)) = self.known(row) else { return };
        let account = &mut self.parts[part];
        if !account.stored.set(account.nth(expected.number)) {
            self.faults.doubled += 1;
            return;
        }
        self.faults.wrong_hash += u64::from(!is_right(&expected, row));
        if account.phase == Phase::Measured
            && let Some(intended) = account.intended(expected.number)
        {
            self.times.add(intended, row);
        }
    }

    /// Takes a row of `attachments_failed`.
    pub fn failed(&mut self, row: &Seen) {
        let Some((part, expected)) = self.known(row) else { return };
        let account = &mut self.parts[part];
        if !account.failed.set(account.nth(expected.number)) {
            self.faults.doubled += 1;
        }
    }

    /// Whose row it is; one that is nobody's is counted.
    fn known(&mut self, row: &Seen) -> Option<(usize, Expected)> {
        let found = self.find(row);
        self.faults.strange += u64::from(found.is_none());
        found
    }

    fn find(&self, row: &Seen) -> Option<(usize, Expected)> {
        let trace_id = row.trace_id.as_deref()?;
        let mut numbers = self.parts.iter().map(|account| account.load.number(trace_id)).enumerate();
        let (part, number) = numbers.find_map(|(part, number)| Some((part, number?)))?;
        let expected = self.parts[part].load.expected(number);
        let same = expected.trace_id == trace_id && row.media_id.as_deref() == Some(expected.media_id.to_string().as_str());
        same.then_some((part, expected))
    }

    /// Different rows of both tables so far.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|account| account.stored.set + account.failed.set).sum()
    }

    /// Different rows of both tables so far, of one plan.
    pub fn rows_of(&self, part: Part) -> u64 {
        self.parts.get(part.0).map_or(0, |account| account.stored.set + account.failed.set)
    }

    /// Whether each acknowledged message has a row.
    pub fn is_complete(&self) -> bool {
        // Counting bits one by one is for when there may be enough of them.
        self.rows() >= self.produced() && self.parts.iter().all(|account| account.missing() == 0)
    }

    fn produced(&self) -> u64 {
        self.parts.iter().map(|account| account.acknowledged).sum()
    }

    /// Reads objects of the store and compares their bytes with the rows of `attachments`: all of them, or every so many
    /// that no more than `max_bytes` are read. Call it once, when all rows were taken.
    ///
    /// # Errors
    /// When the table or the store cannot be read.
    pub fn check_objects(&mut self, attachments: &Path, store: &Path, max_bytes: u64) -> Result<Checked, Error> {
        let checked = objects::check(self, attachments, store, max_bytes)?;
        self.checked(checked);
        Ok(checked)
    }

    /// What a row is of, if it is somebody's.
    pub fn expected(&self, row: &Seen) -> Option<Expected> {
        self.find(row).map(|(_, expected)| expected)
    }

    /// Counts objects that were checked while rows came, and not by [`Accounts::check_objects`].
    pub fn checked(&mut self, checked: Checked) {
        self.faults.objects_checked += checked.objects;
        self.faults.wrong_hash += checked.wrong;
    }

    /// Counts files that were left unfinished in the store and beside the tables. Call it once, when all workers have ended.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn check_left_over(&mut self, store: &Path, tables: &Path) -> Result<u64, Error> {
        let left_over = objects::left_over(store, tables)?;
        self.faults.left_over += left_over;
        Ok(left_over)
    }

    /// The ledger as it stands.
    pub fn ledger(&self) -> Ledger {
        let Faults { doubled, strange, wrong_hash, objects_checked, left_over } = self.faults;
        let sum = |of: fn(&Account) -> u64| self.parts.iter().map(of).sum();
        Ledger {
            produced: self.produced(),
            stored: sum(|account| account.stored.set),
            failed: sum(|account| account.failed.set),
            doubled,
            missing: sum(Account::missing),
            strange,
            wrong_hash,
            objects_checked,
            left_over,
        }
    }

    /// From the intended time of sending to the row that was seen; nothing where no measured plan has a schedule.
    pub fn latency(&self) -> Option<Distribution> {
        self.times.whole.distribution()
    }

    /// The same in its stretches, by the times that rows carry: `download` from the intended time of sending to the end of
    /// the download, `record` from there until the row was made, `commit` from there until it was seen.
    pub fn stage_latency(&self) -> BTreeMap<String, Distribution> {
        let Stretches { download, record, look, .. } = &self.times;
        let named = [("download", download), ("record", record), ("commit", look)];
        named.into_iter().filter_map(|(name, times)| Some((name.to_owned(), times.distribution()?))).collect()
    }
}

impl Stretches {
    fn add(&mut self, intended: i64, row: &Seen) {
        self.whole.add_us(row.seen_unix_us - intended);
        if let (Some(downloaded), Some(created)) = (row.downloaded_at_us, row.created_at_us) {
            self.download.add_us(downloaded - intended);
            self.record.add_us(created - downloaded);
            self.look.add_us(row.seen_unix_us - created);
        }
    }
}

impl Checked {
    /// Compares the object of a row with it, whatever was checked before, and removes it from the store if they agree.
    ///
    /// # Errors
    /// When the object cannot be read or removed.
    pub fn take(&mut self, row: &Seen, expected: &Expected, store: &Path) -> Result<(), Error> {
        self.every = 1;
        objects::check_and_remove(self, row, expected, store)
    }
}

/// Whether a row says of its object what the origin served.
fn is_right(expected: &Expected, row: &Seen) -> bool {
    row.bytes_downloaded == i64::try_from(expected.bytes).ok()
        && row.sha256.as_deref() == Some(content::sha256(&expected.path, expected.bytes).as_str())
}
