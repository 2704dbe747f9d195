//! One attempt at one task: from the socket to the store in one pass.
//!
//! A URL whose signature has expired is not asked for, nor is it asked for again once its host has refused it: either
//! there is a new one to be had ([`Refresh`]), or the task ends with the reason `expired`.
//!
//! Where the new one names another host, that one neither gets the headers which the event asks for, nor does what it
//! answers count for or against the event's host.
//!
//! Each piece is hashed, checked for the file's type and handed to the upload before the next one is read, so that an
//! attempt owns a piece or two of at most 512 KiB whatever the file's size. Nothing is visible before the whole body
//! has arrived, its type is accepted, and its bytes are those that the event promised.

use std::sync::Arc;

use longshore_core::checksum::Promised;
use longshore_core::file_type::SNIFF_BYTES;
use longshore_core::format::{Stored, Task, VERSION};
use longshore_core::hosts::{Signal, authority};
use longshore_core::outcome::{Failure, Reason};
use longshore_core::policy::expiry;
use longshore_core::source::Source;
use sha2::{Digest, Sha256};

use crate::ports::{Clock, Opened, Origin, Request, Store, StoreError, Upload};
use crate::progress::Progress;
use crate::refresh::Refresh;

/// The longest header of an answer that goes into a result, in bytes: whatever an origin says, a result fits into a record.
const HEADER_BYTES: usize = 1_024;

/// What an attempt works with.
pub(super) struct Tools {
    pub(super) origin: Arc<dyn Origin>,
    pub(super) store: Arc<dyn Store>,
    pub(super) source: Arc<Source>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) refresh: Option<Refresh>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) progress: Arc<Progress>,
}

/// A body that has arrived whole and waits to be published.
pub(super) struct Arrived {
    upload: Box<dyn Upload>,
    sha256: [u8; 32],
    stored: Stored,
    asked: Asked,
}

impl Arrived {
    /// What it says of the event's host.
    pub(super) fn signal(&self) -> Signal {
        match self.asked {
            Asked::Own => Signal::Good,
            Asked::Other => Signal::Silent,
        }
    }
}

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The host that the event names.
    Own,
    /// Another one, which a new URL names.
    Other,
}

impl Asked {
    fn of(task: &Task, url: &str) -> Self {
        if authority(url) == authority(&task.url) { Asked::Own } else { Asked::Other }
    }

    /// What goes wrong at another host says nothing of the event's.
    fn charge(self, trouble: Trouble) -> Trouble {
        match (self, trouble) {
            (Asked::Other, Trouble::Task(failure)) => Trouble::Elsewhere(failure),
            (_, trouble) => trouble,
        }
    }
}

/// Why an attempt did not end well.
pub(super) enum Trouble {
    /// The task's own: it has an outcome class.
    Task(Failure),
    /// The same, of another host than the event's: it says nothing of that one.
    Elsewhere(Failure),
    /// The store's: no fault of the task.
    Store(StoreError),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Task(failure)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Trouble::Store(error)
    }
}

/// The first bytes of a body, as many as are needed to tell its type.
#[derive(Default)]
struct Beginning(Vec<u8>);

impl Beginning {
    fn take(&mut self, piece: &[u8]) {
        let wanted = SNIFF_BYTES.saturating_sub(self.0.len()).min(piece.len());
        self.0.extend_from_slice(&piece[..wanted]);
    }
}

/// Fetches the task's body into an upload.
pub(super) async fn fetch(tools: &Tools, task: &Task) -> Result<Arrived, Trouble> {
    let promised = task.checksum.as_deref().map(Promised::parse).transpose()?;
    let (asked, opened) = open(tools, task).await?;
    receive(tools, task, promised, (asked, opened)).await.map_err(|trouble| asked.charge(trouble))
}

/// Takes in a body.
async fn receive(
    tools: &Tools,
    task: &Task,
    promised: Option<Promised>,
    (asked, opened): (Asked, Opened),
) -> Result<Arrived, Trouble> {
    let Opened { content_type, etag, mut body, .. } = opened;
    let mut upload = tools.store.begin().await?;
    let (mut hash, mut bytes, mut beginning) = (Sha256::new(), 0u64, Beginning::default());
    while let Some(piece) = body.chunk().await? {
        beginning.take(&piece);
        hash.update(&piece);
        bytes += piece.len() as u64;
        Progress::add(&tools.progress.read_bytes, piece.len() as u64);
        upload.write(piece).await?;
    }
    let file_type = file_type(tools, task, content_type.as_deref(), &beginning.0)?;
    let sha256: [u8; 32] = hash.finalize().into();
    promised.map_or(Ok(()), |promised| promised.check(&sha256))?;
    let stored = Stored {
        v: VERSION,
        source: task.source.clone(),
        trace_id: task.trace_id.clone(),
        media_id: task.media_id,
        url: task.url.clone(),
        blob_path: task.path.clone(),
        file_type,
        content_type: kept(content_type),
        bytes_downloaded: bytes,
        sha256: hex(&sha256),
        etag: kept(etag),
        attempts: task.attempts + 1,
        event_time: task.event_time.clone(),
        ingested_at: task.ingested_at,
        downloaded_at: tools.clock.now(),
        columns: task.columns.clone(),
    };
    Ok(Arrived { upload, sha256, stored, asked })
}

/// A header of the answer as it goes into the row: half of a long one would say something else.
fn kept(value: Option<String>) -> Option<String> {
    value.filter(|value| value.len() <= HEADER_BYTES)
}

/// Opens the task's URL, or a new one for it where it has expired.
async fn open(tools: &Tools, task: &Task) -> Result<(Asked, Opened), Trouble> {
    let refused = match expiry::expired(&task.url, tools.clock.now()) {
        Some(expired) => expired,
        None => match ask(tools, task, &task.url).await {
            Ok(opened) => return Ok((Asked::Own, opened)),
            Err(failure) => failure,
        },
    };
    match &tools.refresh {
        Some(refresh) if refused.reason == Reason::Expired => {
            let url = refresh.new_url(task, &tools.source.policy, tools.clock.now()).await?;
            let asked = Asked::of(task, &url);
            let opened = ask(tools, task, &url).await.map_err(|failure| asked.charge(failure.into()))?;
            Ok((asked, opened))
        }
        _ => Err(refused.into()),
    }
}

async fn ask(tools: &Tools, task: &Task, url: &str) -> Result<Opened, Failure> {
    let of_event: &[_] = if Asked::of(task, url) == Asked::Own { &task.headers } else { &[] };
    let headers = tools.headers.iter().chain(of_event).cloned().collect();
    let opened = tools.origin.open(Request { url: url.to_owned(), headers }).await;
    opened.map_err(|failure| expiry::explain_refusal(failure, url, tools.clock.now()))
}

/// The column `file_type` of a body that may be stored.
fn file_type(tools: &Tools, task: &Task, content_type: Option<&str>, beginning: &[u8]) -> Result<String, Failure> {
    let verdict = tools.source.judge_body(task, content_type, beginning)?;
    if let Some(warning) = verdict.warned {
        Progress::add(&tools.progress.type_warnings, 1);
        tracing::debug!(media_id = %task.media_id, %warning, "stored although its content is not what its name says");
    }
    Ok(verdict.file_type)
}

/// Publishes what has arrived; returns once it is durable and visible.
pub(super) async fn publish(arrived: Arrived) -> Result<Stored, StoreError> {
    let Arrived { upload, sha256, mut stored, .. } = arrived;
    stored.blob_path = upload.publish(&stored.blob_path, sha256).await?.path;
    Ok(stored)
}

fn hex(digest: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    digest.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char]).collect()
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
