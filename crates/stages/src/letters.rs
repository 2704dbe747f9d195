//! Messages on their way out, of which a part may have to lie in the object store first: dead letters that are too large
//! for the log.
//!
//! *Owns*: the order (the object is durable before its letter is appended, so that no letter refers to nothing), and
//! reading back. *Does not own*: what is too large and what goes where (core).
//!
//! ```text
//! parcels ─▶ [≤ TOGETHER objects at once] ─▶ store ─▶ durable ─▶ log
//! ```
//! A store that is away is waited for: nothing is appended meanwhile, and nothing is passed over. A letter that is made
//! again after a crash finds its object, which is named by its content.
//! Promises: 1, 3, 5.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use longshore_core::format::{DeadLetter, Task};
use longshore_core::letters::{self, Apart};

use crate::StageError;
use crate::patience::Patience;
use crate::ports::{Log, Message, Store, StoreError};

/// How many objects are written at once.
const TOGETHER: usize = 4;
/// The piece in which an object is handed to its upload.
const PIECE: usize = 64 << 10;

/// A message, and what of it goes to the object store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parcel {
    pub(crate) message: Message,
    apart: Option<Apart>,
}

impl From<Message> for Parcel {
    fn from(message: Message) -> Self {
        Parcel { message, apart: None }
    }
}

impl Parcel {
    /// A dead letter of an event, or of a record that cannot be read.
    pub(crate) fn letter(key: Option<Bytes>, letter: DeadLetter, headers: Vec<(String, Bytes)>) -> Self {
        let posted = letters::post(key, letter, headers);
        let message = Message { key: posted.key, value: Some(posted.value.into()), headers: posted.headers };
        Parcel { message, apart: posted.apart }
    }

    /// A dead letter of a task.
    pub(crate) fn letter_of(task: &Task, letter: DeadLetter) -> Self {
        Self::letter(Some(Bytes::from(task.trace_id.clone())), letter, task.message_headers())
    }

    /// The memory that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        self.message.bytes() + self.apart.as_ref().map_or(0, |apart| apart.object.len())
    }
}

/// The way out of a stage.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) patience: Patience,
}

impl Post {
    /// Appends to a topic, and tries until it is done; `what` says in a sentence what that is.
    pub(crate) async fn append(&self, what: &str, topic: &str, parcels: Vec<Parcel>) -> Result<(), StageError> {
        if parcels.is_empty() {
            return Ok(());
        }
        let messages: Vec<Message> = match parcels.iter().all(|parcel| parcel.apart.is_none()) {
            true => parcels.into_iter().map(|parcel| parcel.message).collect(),
            false => stream::iter(parcels).map(|parcel| self.message(parcel)).buffered(TOGETHER).try_collect().await?,
        };
        self.patience.until_done(what, || self.log.append(topic, &messages)).await
    }

    /// The message, once all that it refers to is durable.
    async fn message(&self, parcel: Parcel) -> Result<Message, StageError> {
        let Parcel { mut message, apart } = parcel;
        if let Some(apart) = apart {
            let put = || put(self.store.as_ref(), &apart);
            let path = self.patience.until_done("storing what is too large for the log", put).await?;
            if path != apart.path() {
                message.value = Some(apart.value_at(&path).into());
            }
        }
        Ok(message)
    }
}

/// Creates the object, or finds it; returns its path.
async fn put(store: &dyn Store, apart: &Apart) -> Result<String, StoreError> {
    let mut upload = store.begin().await?;
    for from in (0..apart.object.len()).step_by(PIECE) {
        upload.write(apart.object.slice(from..apart.object.len().min(from + PIECE))).await?;
    }
    Ok(upload.publish(apart.path(), apart.sha256).await?.path)
}

/// A dead letter with the headers of its message.
pub type Headed = (DeadLetter, Vec<(String, Bytes)>);

/// Puts a letter together again that is partly in the object store; one that is not stays as it is. Nothing where the
/// object is missing, or is not what was put there.
pub async fn read_back(
    store: &dyn Store,
    letter: DeadLetter,
    headers: Vec<(String, Bytes)>,
) -> Result<Option<Headed>, StoreError> {
    let Some(kept) = &letter.kept else { return Ok(Some((letter, headers))) };
    let Some(mut pieces) = store.read(&kept.path).await? else { return Ok(None) };
    let mut object = BytesMut::new();
    while let Some(piece) = pieces.try_next().await? {
        object.extend_from_slice(&piece);
        // Somebody's own file, perhaps of any size.
        if object.len() as u64 > kept.bytes {
            return Ok(None);
        }
    }
    Ok(letters::restore(letter, headers, &object).ok())
}
