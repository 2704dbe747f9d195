//! Dead letters that are partly in the object store, put together again.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use longshore_core::format::{self, DeadLetter};
use longshore_stages::letters::read_back;
use longshore_stages::ports::{Message, Received, Store};

use crate::place::Place;

/// A letter as it is in the log, and its headers.
type Headed = (DeadLetter, Vec<(String, Bytes)>);

/// The objects of a place, if it has any yet.
pub(crate) fn objects(place: &Place) -> Result<Option<Arc<dyn Store>>> {
    if place.files.is_dir() { Ok(Some(Arc::new(place.store_view()?))) } else { Ok(None) }
}

/// The letter with what lies in the store of it; as it is in the log where that is gone or was changed, which its `kept`
/// shows.
pub(crate) async fn whole(store: Option<&dyn Store>, letter: DeadLetter, headers: Vec<(String, Bytes)>) -> Result<Headed> {
    let (Some(_), Some(store)) = (&letter.kept, store) else { return Ok((letter, headers)) };
    let found = read_back(store, letter.clone(), headers.clone()).await?;
    Ok(found.unwrap_or((letter, headers)))
}

/// The record of a dead letter as it would be if there were no bound on records; nothing where it is that already.
pub(crate) async fn whole_record(store: Option<&dyn Store>, record: &Received) -> Result<Option<Received>> {
    let letter: Option<DeadLetter> = record.message.value.as_deref().and_then(|value| format::decode(value).ok());
    let Some(letter) = letter.filter(|letter| letter.kept.is_some()) else { return Ok(None) };
    let (letter, headers) = whole(store, letter, record.message.headers.clone()).await?;
    let message = Message { value: Some(format::encode(&letter).into()), headers, key: record.message.key.clone() };
    Ok(Some(Received { message, ..record.clone() }))
}
