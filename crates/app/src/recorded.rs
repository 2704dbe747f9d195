//! Events as the log holds them, read as ingest reads them.

use longshore_core::format::{Enriched, HEADER_TRUNCATED, HEADER_URL_FIELD};
use longshore_core::source::{Event, RawEvent};
use longshore_stages::ports::Received;
use uuid::Uuid;

use crate::place::Lane;

/// The event of a record of this topic with its key; nothing for a poison event, and for one of another source on the
/// same topic.
pub(crate) fn event_of(lane: &Lane, topic: &str, record: &Received) -> Option<(Uuid, Event)> {
    let value = record.message.value.as_deref()?;
    // The stage that enriches puts its answer beside the event; in its own topics events are as they came.
    let events = lane.topics.events();
    let wrapped = *topic == *events && events != lane.topics.raw();
    let enriched = if wrapped { Some(Enriched::decode(value).ok()?) } else { None };
    let bytes = enriched.as_ref().map_or(value, |enriched| &enriched.event);
    let text = |name| record.message.header(name).and_then(|value| std::str::from_utf8(value).ok());
    let raw = RawEvent {
        headers: &record.message.headers,
        url_field: text(HEADER_URL_FIELD),
        truncated: text(HEADER_TRUNCATED).and_then(|length| length.parse().ok()),
        enrichment: enriched.as_ref().map(|enriched| enriched.answer),
        ..RawEvent::of(bytes, record.appended_at)
    };
    let event = lane.source.plan(&raw).ok()?.event()?;
    Some((event.key(&raw), event))
}
