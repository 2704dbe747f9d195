//! The messages of a plan: the product's own formats, made of nothing but the plan and a number.
//!
//! *Owns*: what message number n is, and what must become of it. *Does not own*: sending it.
//!
//! Events are those of the preset `xact`, of 700 to 1,060 bytes with one attachment each. Tasks are what core makes of these
//! events, results what download makes of these tasks.

use std::fmt::Write as _;

use bytes::Bytes;
use longshore_core::file_type::FileTypes;
use longshore_core::format::{Stored, Task, VERSION};
use longshore_core::path::PathTemplate;
use longshore_core::policy::Policy;
use longshore_core::source::{Identity, Mapping, Planned, RawEvent, Source};
use longshore_core::time;
use longshore_stages::message;
use longshore_stages::ports::Message;
use longshore_stages::topics::Topics;
use uuid::Uuid;

use super::plan::{GeneratorPlan, Kind};
use crate::error::Error;
use crate::{content, origin};

/// What adjusters write, more or less of it.
const NOTE: &str = "Water came through the roof above the north bedroom; ceiling, two walls and the floor are wet, photographs \
were taken of each. The insured has moved furniture to the garage and asks when drying can begin, and who is going to call \
about the carpet. Second visit agreed with the contractor, who brings the moisture readings of the first week with him then.";
/// The longest name of a run.
const RUN_BYTES: usize = 32;
/// The highest rate that means anything, in messages a second.
const MAX_RATE: f64 = 1_000_000.0;

/// What must become of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its number.
    pub number: u64,
    /// Its event's id.
    pub trace_id: String,
    /// Its attachment's id.
    pub media_id: Uuid,
    /// Where its file is.
    pub url: String,
    /// The path of this URL, which [`content`] makes the bytes of.
    pub path: String,
    /// The file's size in bytes.
    pub bytes: u64,
    /// Whether the origin says that it is not there.
    pub missing: bool,
}

/// What must become of each message of a plan, in order.
///
/// # Errors
/// When the plan is none.
pub fn expected(plan: &GeneratorPlan) -> Result<impl Iterator<Item = Expected>, Error> {
    let load = Load::new(plan)?;
    Ok(plan.numbers().map(move |number| load.expected(number)))
}

/// The messages of a plan.
#[derive(Debug, Clone)]
pub struct Load {
    plan: GeneratorPlan,
    source: Source,
    topic: String,
}

impl Load {
    /// Checks a plan.
    ///
    /// # Errors
    /// When the plan is none: what is wrong with it.
    pub fn new(plan: &GeneratorPlan) -> Result<Self, Error> {
        let topics = Topics::of(&plan.source);
        let topic = match plan.kind {
            Kind::Events => topics.raw(),
            Kind::Tasks => topics.pending(),
            Kind::Results => topics.results(),
        };
        let load = Load { plan: plan.clone(), source: source(&plan.source)?, topic };
        load.check()?;
        Ok(load)
    }

    fn check(&self) -> Result<(), Error> {
        let GeneratorPlan { run, rate_per_s, missing_every, first, .. } = &self.plan;
        if !(1..=RUN_BYTES).contains(&run.len()) || !run.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Error::Plan(format!("run: {run:?} is not 1 to {RUN_BYTES} letters and digits")));
        }
        if rate_per_s.is_some_and(|rate| !(rate > 0.0 && rate <= MAX_RATE)) {
            return Err(Error::Plan(format!("rate_per_s: {rate_per_s:?} is not above 0 and at most {MAX_RATE}")));
        }
        if *missing_every == Some(0) {
            return Err(Error::Plan("missing_every: 0; at least 1 is expected".to_owned()));
        }
        self.task(*first, 0).map(drop)
    }

    /// The plan.
    pub fn plan(&self) -> &GeneratorPlan {
        &self.plan
    }

    /// The topic that the messages go to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// A message as it is sent at this time (microseconds since 1970).
    ///
    /// # Errors
    /// When core does not take the plan's events.
    pub fn message(&self, number: u64, now: i64) -> Result<Message, Error> {
        match self.plan.kind {
            Kind::Events => {
                let Expected { trace_id, url, .. } = self.expected(number);
                let value = Bytes::from(event(&trace_id, number, &url, now));
                Ok(Message { key: Some(Bytes::from(trace_id)), value: Some(value), headers: Vec::new() })
            }
            Kind::Tasks => self.task(number, now).map(|task| message::of(&task)),
            Kind::Results => {
                let task = self.task(number, now)?;
                Ok(message::of_result(&task, &self.stored(number, &task, now)))
            }
        }
    }

    /// All messages in order, `size` in each batch, as they are sent at this time.
    ///
    /// # Errors
    /// Those of [`Load::message`], each in the place of its batch.
    pub fn batches(&self, size: usize, now: i64) -> impl Iterator<Item = Result<Vec<Message>, Error>> {
        let numbers = self.plan.numbers();
        let starts = numbers.clone().step_by(size.max(1));
        let batch = move |start: u64| start..numbers.end.min(start.saturating_add(size.max(1) as u64));
        starts.map(move |start| batch(start).map(|number| self.message(number, now)).collect())
    }

    /// What must become of a message.
    pub fn expected(&self, number: u64) -> Expected {
        let GeneratorPlan { run, origin, file_bytes, origin_delay_ms, missing_every, .. } = &self.plan;
        let missing = missing_every.is_some_and(|every| number % every == every - 1);
        let path = match missing {
            true => origin::missing_path(run, number),
            false => origin::path(*file_bytes, *origin_delay_ms, run, number),
        };
        let (trace_id, url) = (format!("{run}-{number:010}"), format!("{}{path}", origin.trim_end_matches('/')));
        let media_id = self.source.media_id(Some(&trace_id), &url);
        Expected { number, trace_id, media_id, url, path, bytes: *file_bytes, missing }
    }

    /// The number of the message that has this trace id, if it is one of this plan's.
    pub fn number(&self, trace_id: &str) -> Option<u64> {
        let digits = trace_id.strip_prefix(self.plan.run.as_str())?.strip_prefix('-')?;
        let number = digits.parse().ok()?;
        self.plan.numbers().contains(&number).then_some(number)
    }

    fn task(&self, number: u64, now: i64) -> Result<Task, Error> {
        let Expected { trace_id, url, .. } = self.expected(number);
        let event = event(&trace_id, number, &url, now);
        let planned = self.source.plan(&RawEvent::of(event.as_bytes(), now));
        let planned = planned.map_err(|failure| Error::Plan(format!("its events are none: {}", failure.message)))?;
        let attachment = match planned {
            Planned::Event(event) => event.attachments.into_iter().next(),
            Planned::Elsewhere => None,
        };
        let attachment = attachment.ok_or_else(|| Error::Plan("its events have no attachment".to_owned()))?;
        match attachment.refused {
            None => Ok(attachment.task),
            Some(failure) => Err(Error::Plan(format!("{url}: {}", failure.message))),
        }
    }

    fn stored(&self, number: u64, task: &Task, now: i64) -> Stored {
        let Expected { path, bytes, .. } = self.expected(number);
        Stored {
            v: VERSION,
            source: task.source.clone(),
            trace_id: task.trace_id.clone(),
            media_id: task.media_id,
            url: task.url.clone(),
            blob_path: task.path.clone(),
            file_type: content::EXTENSION.to_ascii_uppercase(),
            content_type: Some(content::MEDIA_TYPE.to_owned()),
            bytes_downloaded: bytes,
            sha256: content::sha256(&path, bytes),
            etag: None,
            attempts: 1,
            event_time: task.event_time.clone(),
            ingested_at: now,
            downloaded_at: now,
            columns: task.columns.clone(),
        }
    }
}

/// The source as a worker has it. Whom it lets be asked is the worker's configuration's business.
fn source(name: &str) -> Result<Source, Error> {
    let mapping = Mapping::Xact;
    let path = PathTemplate::parse_with(mapping.default_path(), &mapping.path_columns()).map_err(Error::Plan)?;
    let allow_private = ["0.0.0.0/0", "::/0"].iter().filter_map(|network| network.parse().ok()).collect();
    Ok(Source {
        name: name.to_owned(),
        mapping,
        identity: Identity::default(),
        policy: Policy { allow_http: true, allow_private, ..Policy::default() },
        file_types: FileTypes::any(),
        path,
        route: None,
        enrich: None,
    })
}

/// An event of the preset `xact` as a producer makes it.
fn event(trace_id: &str, number: u64, url: &str, now: i64) -> String {
    let note = &NOTE[..number.wrapping_mul(7_919) as usize % NOTE.len()];
    let (office, carrier, time) = (number % 97, 3_000_000 + number % 211, time::format(now));
    let mut text = String::with_capacity(1_152);
    // Writing to a text cannot fail.
    let _ = write!(
        text,
        "{{\"type\":\"claims.property.xn.documentsReceived\",\"version\":\"1\",\"utcDateTime\":\"{time}\",\
         \"traceId\":\"{trace_id}\",\"eventId\":null,\"data\":{{\"description\":\"Documents received\",\
         \"assignmentId\":\"A{number:08}\",\"originalAssignmentId\":\"A{number:08}\",\"xnAddress\":\"XN.EXAMPLE.{office}\",\
         \"carrierId\":\"{carrier}\",\"estimateVersion\":\"2\",\"note\":\"{note}\",\"author\":\"J. Doe\",\
         \"dateTime\":\"2026-11-23T12:45:32\",\"adm\":{{\"coverageLoss\":{{\"claimNumber\":\"CLM-{number:09}\"}}}},\
         \"contact\":{{\"type\":\"insured\",\"name\":\"Erika Mustermann\",\"contactMethods\":{{\"phone\":{{\"type\":\"cell\",\
         \"number\":\"555-0100\",\"extension\":\"\"}}}}}},\"attachments\":[\"{url}\"]}}}}"
    );
    text
}
