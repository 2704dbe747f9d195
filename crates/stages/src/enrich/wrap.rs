//! An event with its answer as one message, and how large a message may be.

use longshore_core::format::{Climb, Enriched};
use longshore_core::letters::RECORD_BYTES;
use longshore_core::outcome::{Class, Failure, Reason};

use crate::ports::Message;

/// The message of an event with its answer.
pub(super) fn enriched(message: &Message, answer: &[u8]) -> Result<Message, Failure> {
    let event = message.value.as_deref().unwrap_or_default();
    let value = Enriched { event: event.into(), answer }.encode();
    let value = value.map_err(|error| Failure::new(Class::Transient, Reason::Lookup, error.to_string()))?;
    let mut headers = message.headers.clone();
    Climb::remove(&mut headers);
    let enriched = Message { key: message.key.clone(), value: Some(value.into()), headers };
    fits("the event and its answer have", &enriched)?;
    Ok(enriched)
}

/// Whether a message can be appended. One that is too large would be so the next time, too.
pub(super) fn fits(what: &str, message: &Message) -> Result<(), Failure> {
    match message.bytes() {
        0..=RECORD_BYTES => Ok(()),
        bytes => Err(Failure::new(
            Class::Permanent,
            Reason::TooLarge,
            format!("{what} {bytes} bytes in the log; at most {RECORD_BYTES} can be enriched"),
        )),
    }
}
