//! Headers: what of an event's message travels on with the work that it makes.
//!
//! *Owns*: which headers go from a message to the next one (an event's to its tasks, a task's to a retry tier, its result
//! or its dead letter, a letter's to its replay), and how many. *Does not own*: the headers of an event that stays an event
//! (enriched, in a tier, poison): it keeps all of them, so that it can be given back as it came.

use bytes::Bytes;

use crate::format::{self, Task};

/// Header: the task's life (0 at first, one more at each replay), decimal. Absent means 0.
pub const HEADER_LIFE: &str = "longshore-life";
/// Header: where an event was read, `file:line`.
pub const HEADER_INPUT: &str = "longshore-input";
/// Header: the field of the event that holds the URL, where it is not the preset's.
pub const HEADER_URL_FIELD: &str = "longshore-url-field";
/// Header: the whole length in bytes of an event of which only the beginning was kept.
pub const HEADER_TRUNCATED: &str = "longshore-truncated";
/// Header: the event has a row already, made by another mapping; it gets a row of its own for what is found in it now.
pub const HEADER_REMAPPED: &str = "longshore-remapped";
/// Header: the attempts at enriching an event that are spent, decimal. Absent means none.
pub const HEADER_ATTEMPTS: &str = "longshore-attempts";
/// Header: what else is known of an event on the ladder of enriching, as JSON.
pub const HEADER_CLIMB: &str = "longshore-climb";

/// Header: the position of the work in a trace (W3C Trace Context §3.2).
pub const TRACEPARENT: &str = "traceparent";
/// Header: what the systems along a trace add to it (W3C Trace Context §3.3). It means nothing without [`TRACEPARENT`].
pub const TRACESTATE: &str = "tracestate";

/// The most headers that are carried.
pub const MAX_HEADERS: usize = 8;
/// The longest header that is carried, name and value, in bytes.
pub const MAX_BYTES: usize = 1_024;

/// What our own headers begin with.
const OURS: &str = "longshore-";
/// Headers of ours that stay where they are: they say how an event's bytes are to be read and where they were read, count
/// its own attempts and lives, and mean nothing of a task. A task's life is its own: whoever sends a task writes it.
const STAYING: [&str; 7] =
    [HEADER_LIFE, HEADER_INPUT, HEADER_URL_FIELD, HEADER_TRUNCATED, HEADER_REMAPPED, HEADER_ATTEMPTS, HEADER_CLIMB];

/// The headers that go on from a message with these: the trace first, then our own in their order, at most
/// [`MAX_HEADERS`] of at most [`MAX_BYTES`]. Names come out in lower case. Carrying what was carried changes nothing.
pub fn carried(headers: &[(String, Bytes)]) -> Vec<(String, Bytes)> {
    let own = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let own = own.filter(|(name, _)| name.starts_with(OURS) && !STAYING.contains(&name.as_str()));
    let own = own.map(|(name, value)| (name, value.clone()));
    let fits = |(name, value): &(String, Bytes)| name.len() + value.len() <= MAX_BYTES;
    trace(headers).into_iter().chain(own).filter(fits).take(MAX_HEADERS).collect()
}

/// The trace that a message is a part of: one `traceparent` that is well formed, and what comes with it.
fn trace(headers: &[(String, Bytes)]) -> Vec<(String, Bytes)> {
    let of = |wanted: &'static str| {
        let named = headers.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted));
        named.map(move |(_, value)| (wanted.to_owned(), value.clone()))
    };
    let mut parents = of(TRACEPARENT);
    match (parents.next(), parents.next()) {
        (Some(parent), None) if is_traceparent(&parent.1) => {
            let state = of(TRACESTATE).filter(|(_, value)| value.iter().all(|b| matches!(b, b'\t' | b' '..=b'~')));
            std::iter::once(parent).chain(state).collect()
        }
        // None, or several of which nobody can say which was meant.
        _ => Vec::new(),
    }
}

/// Whether this is a `traceparent` (W3C Trace Context §3.2.2): version, trace id, parent id and flags in lower-case hex,
/// ids not all zero. A version above 00 may go on after another dash.
fn is_traceparent(value: &[u8]) -> bool {
    let hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let id = |part: &[u8]| hex(part) && part.iter().any(|b| *b != b'0');
    let Some((known, rest)) = value.split_at_checked(55) else { return false };
    let parts: Vec<&[u8]> = known.split(|b| *b == b'-').collect();
    let [version, trace, parent, flags] = parts[..] else { return false };
    let lengths = (version.len(), trace.len(), parent.len()) == (2, 32, 16);
    let ends = rest.is_empty() || (version != b"00" && rest[0] == b'-');
    lengths && ends && hex(version) && version != b"ff" && id(trace) && id(parent) && hex(flags)
}

/// The value of the first header of this name.
pub fn value<'a>(headers: &'a [(String, Bytes)], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_ref())
}

impl Task {
    /// Takes in what the message that holds the task says in its headers: its life, and what is carried on.
    pub fn take_headers(&mut self, headers: &[(String, Bytes)]) {
        self.life = format::life_of(value(headers, HEADER_LIFE));
        self.carried = carried(headers);
    }

    /// The headers of each message that is made of the task: itself, its result, its dead letter.
    pub fn message_headers(&self) -> Vec<(String, Bytes)> {
        let life = (self.life > 0).then(|| (HEADER_LIFE.to_owned(), Bytes::from(self.life.to_string())));
        life.into_iter().chain(self.carried.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn header(name: &str, value: impl Into<Bytes>) -> (String, Bytes) {
        (name.to_owned(), value.into())
    }

    fn names(headers: &[(String, Bytes)]) -> Vec<&str> {
        headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_traceparent_is_carried_as_it_came_or_not_at_all() {
        let later = format!("01{}-more", &PARENT[2..]);
        for good in [PARENT, &later] {
            let headers = [header("TraceParent", good.to_owned())];
            assert_eq!(carried(&headers), [header(TRACEPARENT, good.to_owned())], "{good}");
        }
        for wrong in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-more"),
            &format!("{PARENT} "),
            &format!("ff{}", &PARENT[2..]),
            &format!("01{}x", &PARENT[2..]),
            &PARENT.to_ascii_uppercase(),
            &PARENT.replace('-', "_"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00-0af7651916cd43dd8448eb211c8031-b7ad6b716920333101-01",
        ] {
            let headers = [header(TRACEPARENT, wrong.to_owned()), header(TRACESTATE, "a=b")];
            assert_eq!(carried(&headers), [], "{wrong}");
        }
        let twice = [header(TRACEPARENT, PARENT), header("Traceparent", PARENT)];
        assert_eq!(carried(&twice), [], "nobody can say which was meant");
    }

    #[test]
    fn a_tracestate_goes_with_its_traceparent_only_and_is_text() {
        let parent = header(TRACEPARENT, PARENT);
        let state = header(TRACESTATE, "vendor=t61rcWkgMzE,other=1");
        assert_eq!(carried(std::slice::from_ref(&state)), []);
        assert_eq!(carried(&[state.clone(), parent.clone()]), [parent.clone(), state]);
        assert_eq!(carried(&[parent.clone(), header(TRACESTATE, &b"a=\n"[..])]), [parent]);
    }

    #[test]
    fn of_our_own_what_belongs_to_the_event_stays_with_it() {
        let mut headers: Vec<_> = STAYING.iter().map(|name| header(name, "1")).collect();
        headers.extend([header("longshore-later", "x"), header("ce_id", "7"), header("Authorization", "secret")]);
        assert_eq!(carried(&headers), [header("longshore-later", "x")]);
    }

    #[test]
    fn what_is_carried_is_bounded_and_carried_again_the_same() {
        let long = "x".repeat(MAX_BYTES);
        let mut headers = vec![header("longshore-long", long)];
        headers.extend((0..20).map(|n| header(&format!("Longshore-{n}"), "x".repeat(MAX_BYTES - 12))));
        headers.push(header(TRACEPARENT, PARENT));
        let once = carried(&headers);
        assert_eq!((once.len(), names(&once)[0], names(&once)[1]), (MAX_HEADERS, TRACEPARENT, "longshore-0"));
        assert!(once.iter().all(|(name, value)| name.len() + value.len() <= MAX_BYTES));
        assert_eq!(carried(&once), once);
    }

    #[test]
    fn a_task_has_its_own_life_and_the_trace_of_its_message() {
        let mut task = Task::default();
        task.take_headers(&[header(TRACEPARENT, PARENT), header(HEADER_INPUT, "list:7")]);
        assert_eq!(task.message_headers(), [header(TRACEPARENT, PARENT)]);
        task.life = 2;
        let mut again = Task::default();
        again.take_headers(&task.message_headers());
        assert_eq!((again.life, names(&again.message_headers())), (2, vec![HEADER_LIFE, TRACEPARENT]));
    }
}
