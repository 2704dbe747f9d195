//! The events of a gate, and what must become of each attachment.

use std::collections::{BTreeMap, BTreeSet};

use longshore::demo::content::{Dice, KINDS};
use longshore::demo::origin::Origin;
use serde_json::json;
use uuid::Uuid;

/// The namespace of attachments of the preset `xact`.
const MEDIA: Uuid = Uuid::from_u128(0x63b5_635e_4ed0_53e3_9381_ab45_f5a8_3235);

const SLOW: [&str; 3] = ["slow-300", "slow-800", "slow-1500"];

/// An event as it is produced.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
}

/// What must become of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Stored with the bytes that the origin has at this path.
    File(String),
    /// Stored with whatever bytes came.
    AnyFile,
    /// A failed row of this class, whose message begins so.
    Failed(&'static str, &'static str),
}

/// The attachments by their ids, and all that is to be produced, in order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) sends: Vec<Event>,
    pub(crate) ends: BTreeMap<Uuid, End>,
    /// Events that nobody can decode.
    pub(crate) poison: BTreeSet<Vec<u8>>,
    /// How many events differ in their bytes, poison not counted.
    pub(crate) distinct: usize,
}

/// What is wrong with an event's attachment, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    Slow,
    FailsFirst,
    FailsAlways,
    Hostile,
    Changing,
    Poison,
}

impl Kind {
    /// 0.1 % poison, 1 % each that fail always, are hostile, or differ at every request; 5 % fail at first. 10 % take a
    /// while, so that there is always something under way that was overtaken.
    fn of(number: u64) -> Kind {
        match (number % 1000, number % 100) {
            (0, _) => Kind::Poison,
            (_, 1) => Kind::FailsAlways,
            (_, 2) => Kind::Hostile,
            (_, 3) => Kind::Changing,
            (_, 4..=8) => Kind::FailsFirst,
            (_, 10..20) => Kind::Slow,
            _ => Kind::Good,
        }
    }
}

impl Plan {
    /// This many events, and one in ten of them once more, later: to the byte, or as sent again at another time.
    pub(crate) fn new(origin: &Origin, events: u64, seed: u64) -> Plan {
        let (mut plan, mut dice) = (Plan::default(), Dice::new(seed));
        let mut ordered = Vec::new();
        for number in 0..events {
            let event = plan.event(origin, number, 0);
            if number % 10 == 9 {
                let at = number + dice.below(events / 4);
                let again = plan.event(origin, number, dice.below(2));
                ordered.push((at, again));
            }
            ordered.push((number, event));
        }
        ordered.sort_by_key(|(at, _)| *at);
        plan.sends = ordered.into_iter().map(|(_, event)| event).collect();
        let distinct: BTreeSet<_> = plan.sends.iter().map(|event| &event.value).filter(|v| !plan.poison.contains(*v)).collect();
        plan.distinct = distinct.len();
        plan
    }

    /// Adds events whose files take a moment to come; returns them to be sent.
    pub(crate) fn add_files(&mut self, origin: &Origin, prefix: &str, events: u64) -> Vec<Event> {
        let file = |number| format!("/slow-100/{prefix}/{number}.pdf");
        let paths: Vec<String> = (0..events).map(file).collect();
        let noted = paths
            .into_iter()
            .enumerate()
            .map(|(number, path)| self.noted(&format!("{prefix}-{number:06}"), &origin.url(&path), End::File(path.clone()), 0));
        let added: Vec<Event> = noted.collect();
        self.sends.extend_from_slice(&added);
        self.distinct = self.sends.len();
        added
    }

    /// One event, whose end is noted. The version makes the time, so that other versions are other bytes.
    fn event(&mut self, origin: &Origin, number: u64, version: u64) -> Event {
        match Kind::of(number) {
            Kind::Poison => self.poisoned(number),
            Kind::Good => self.file(origin, "good", number, version),
            Kind::Slow => self.file(origin, SLOW[usize::try_from(number / 10 % 3).unwrap()], number, version),
            Kind::FailsFirst => self.file(origin, "fails-1", number, version),
            Kind::Changing => {
                let url = origin.url(&path("changing", number));
                self.noted(&format!("changing-{number:06}"), &url, End::AnyFile, version)
            }
            Kind::FailsAlways => {
                let (behaviour, end) = failing(number / 100);
                self.noted(&format!("{behaviour}-{number:06}"), &origin.url(&path(behaviour, number)), end, version)
            }
            Kind::Hostile => {
                let url = hostile(origin, number / 100, number);
                self.noted(&format!("hostile-{number:06}"), &url, End::Failed("rejected", ""), version)
            }
        }
    }

    fn file(&mut self, origin: &Origin, behaviour: &str, number: u64, version: u64) -> Event {
        let path = path(behaviour, number);
        self.noted(&format!("{behaviour}-{number:06}"), &origin.url(&path), End::File(path), version)
    }

    fn noted(&mut self, trace: &str, url: &str, end: End, version: u64) -> Event {
        self.ends.insert(media_id(trace, url), end);
        let day = trace.len() % 3 + 1;
        let value = json!({
            "type": "verisk.claims.property.xn.documentsReceived", "version": 1,
            "utcDateTime": format!("2026-01-0{day}T12:00:0{version}.749511+00:00"),
            "traceId": trace, "eventId": null,
            "data": json!({ "assignmentId": "A-17", "attachments": [url] }).to_string(),
        });
        Event { key: trace.to_owned(), value: value.to_string().into_bytes() }
    }

    fn poisoned(&mut self, number: u64) -> Event {
        let value = match number / 1000 % 3 {
            0 => format!("{{\"traceId\": \"broken-{number}"),
            1 => json!({ "type": "x.y", "data": { "number": number } }).to_string(),
            _ => json!({ "type": "x.y", "traceId": format!("poison-{number}"), "data": "no JSON" }).to_string(),
        };
        self.poison.insert(value.clone().into_bytes());
        Event { key: format!("poison-{number}"), value: value.into_bytes() }
    }
}

/// The id that an attachment must get.
pub(crate) fn media_id(trace: &str, url: &str) -> Uuid {
    Uuid::new_v5(&MEDIA, format!("{trace}:{url}").as_bytes())
}

fn path(behaviour: &str, number: u64) -> String {
    let allowed: Vec<_> = KINDS.iter().filter(|kind| **kind != "zip").collect();
    let kind = allowed[usize::try_from(number).unwrap() % allowed.len()];
    format!("/{behaviour}/{}/{number}.{kind}", number % 37)
}

fn failing(choice: u64) -> (&'static str, End) {
    match choice % 3 {
        0 => ("missing", End::Failed("permanent", "http_status: ")),
        1 => ("fails-999", End::Failed("transient", "http_status: ")),
        _ => ("short", End::Failed("transient", "wrong_length: ")),
    }
}

/// A URL that must never be dialled. The canary counts whoever tries.
fn hostile(origin: &Origin, choice: u64, number: u64) -> String {
    let port = origin.canary().port();
    match choice % 13 {
        0 => format!("http://169.254.169.254/latest/meta-data/{number}.pdf"),
        1 => format!("http://10.0.0.1/{number}.pdf"),
        2 => format!("http://192.168.1.1/{number}.pdf"),
        3 => format!("http://[fd00:ec2::254]/{number}.pdf"),
        4 => format!("http://127.0.0.2:{port}/{number}.pdf"),
        5 => format!("http://2130706434:{port}/{number}.pdf"),
        6 => format!("http://[::1]:{port}/{number}.pdf"),
        7 => format!("http://[::ffff:169.254.169.254]/{number}.pdf"),
        8 => format!("ftp://127.0.0.1/{number}.pdf"),
        9 => format!("file:///etc/passwd?{number}.pdf"),
        10 => format!("javascript:alert({number})"),
        11 => format!("https://evil.example.com/{number}.pdf"),
        _ => origin.url(&format!("/redirect-forbidden/{number}.pdf")),
    }
}
