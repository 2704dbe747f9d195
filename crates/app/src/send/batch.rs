//! Lines in batches: as many as one request takes, of one input, with the numbers that they have there.

use bytes::{Bytes, BytesMut};
use longshore_core::format::{HEADER_INPUT, HEADER_URL_FIELD};
use longshore_stages::ports::Message;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::input::{Line, Lines, MAX_LINE};

/// The most lines in a batch.
const BATCH_LINES: usize = 4_096;
/// The most bytes, with the ends of lines; a single line may be as long as lines may be.
const BATCH_BYTES: usize = MAX_LINE;

/// Lines of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    /// The input's name.
    pub(super) name: String,
    pub(super) url_field: Option<String>,
    /// The lines with their numbers, which rise; never empty.
    lines: Vec<(u64, Vec<u8>)>,
    /// The length of the body, about.
    bytes: usize,
}

/// What the reader passes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Portion {
    Batch(Batch),
    /// A line that cannot be sent, or an input that cannot be read further.
    Problem(String),
}

impl Batch {
    fn of(name: &str, number: u64, line: Line) -> Self {
        let bytes = line.event.len();
        Batch { name: name.to_owned(), url_field: line.url_field, lines: vec![(number, line.event)], bytes }
    }

    /// Adds a line that goes with the others, or gives it back.
    fn add(&mut self, name: &str, number: u64, line: Line) -> Result<(), Line> {
        // Lines between that are no events come as blank ones.
        let last = self.lines.last().map_or(0, |(number, _)| *number);
        let gap = usize::try_from(number.saturating_sub(last)).unwrap_or(usize::MAX);
        let bytes = self.bytes.saturating_add(line.event.len()).saturating_add(gap);
        let fits = self.lines.len() < BATCH_LINES && bytes <= BATCH_BYTES;
        if !fits || number <= last || self.name != name || self.url_field != line.url_field {
            return Err(line);
        }
        self.bytes = bytes;
        self.lines.push((number, line.event));
        Ok(())
    }

    /// How many events it holds.
    pub(super) fn len(&self) -> u64 {
        self.lines.len() as u64
    }

    /// The number of its first line.
    pub(super) fn first_line(&self) -> u64 {
        self.lines.first().map_or(1, |(number, _)| *number)
    }

    /// Where it begins.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.name, self.first_line())
    }

    /// One event a line, at the distances that they have in the input.
    pub(super) fn body(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(self.bytes);
        let mut at = self.first_line();
        for (number, line) in &self.lines {
            body.resize(body.len() + usize::try_from(number - at).unwrap_or_default(), b'\n');
            at = *number;
            body.extend_from_slice(line);
        }
        body.freeze()
    }

    /// The messages that the service would make of it.
    pub(super) fn messages(&self, own: &[(String, String)]) -> Vec<Message> {
        let message = |(number, line): &(u64, Vec<u8>)| {
            let mut headers = vec![(HEADER_INPUT.to_owned(), Bytes::from(format!("{}:{number}", self.name)))];
            headers.extend(self.url_field.clone().map(|field| (HEADER_URL_FIELD.to_owned(), Bytes::from(field))));
            headers.extend(own.iter().map(|(name, value)| (name.clone(), Bytes::from(value.clone()))));
            Message { key: None, value: Some(Bytes::copy_from_slice(line)), headers }
        };
        self.lines.iter().map(message).collect()
    }
}

/// Reads all inputs, on a thread of its own: files and pipes block. What is at hand goes as soon as somebody waits
/// for it, so that a slow pipe is passed on line by line and a file in whole batches.
pub(super) fn read(inputs: Vec<Lines>, to: &Sender<Portion>) {
    let mut batch: Option<Batch> = None;
    for line in inputs.into_iter().flatten() {
        let passed = match line.map_err(|error| format!("{error:#}")).and_then(short) {
            Ok(line) => push(&mut batch, line, to),
            Err(problem) => flush(&mut batch, to) && to.blocking_send(Portion::Problem(problem)).is_ok(),
        };
        if !passed {
            return;
        }
    }
    flush(&mut batch, to);
}

fn short(line: Line) -> Result<Line, String> {
    match line.truncated {
        None => Ok(line),
        Some(length) => Err(format!("{}: has {length} bytes, and {MAX_LINE} are allowed: it was not sent", line.place)),
    }
}

/// Whether somebody still receives.
fn push(batch: &mut Option<Batch>, line: Line, to: &Sender<Portion>) -> bool {
    let place = line.place.clone();
    let (name, number) = place.rsplit_once(':').unwrap_or((&place, "1"));
    let number = number.parse().unwrap_or(1);
    let left = match batch {
        Some(batch) => batch.add(name, number, line).err(),
        None => Some(line),
    };
    if let Some(line) = left {
        if !flush(batch, to) {
            return false;
        }
        *batch = Some(Batch::of(name, number, line));
    }
    match batch.take().map(|batch| to.try_send(Portion::Batch(batch))) {
        Some(Err(TrySendError::Full(Portion::Batch(kept)))) => *batch = Some(kept),
        Some(Err(_)) => return false,
        _ => {}
    }
    true
}

fn flush(batch: &mut Option<Batch>, to: &Sender<Portion>) -> bool {
    batch.take().is_none_or(|batch| to.blocking_send(Portion::Batch(batch)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, text: &str) -> Line {
        Line { event: text.as_bytes().to_vec(), url_field: None, truncated: None, place: format!("a:b.txt:{number}") }
    }

    fn portions(lines: Vec<Line>) -> Vec<Portion> {
        let (to, mut from) = tokio::sync::mpsc::channel(1);
        let reader = std::thread::spawn(move || read(vec![Box::new(lines.into_iter().map(Ok))], &to));
        let mut all = Vec::new();
        while let Some(portion) = from.blocking_recv() {
            all.push(portion);
        }
        reader.join().expect("reader");
        all
    }

    #[test]
    fn lines_keep_their_numbers() {
        let mut batch = Batch::of("a", 3, line(3, "x"));
        batch.add("a", 4, line(4, "y")).expect("next");
        batch.add("a", 7, line(7, "z")).expect("after a gap");
        assert_eq!((batch.first_line(), batch.len()), (3, 3));
        assert_eq!(batch.body(), "x\ny\n\n\nz");
        assert_eq!(batch.bytes, batch.body().len());
        let places: Vec<_> = batch.messages(&[]).iter().map(|m| m.header(HEADER_INPUT).map(<[u8]>::to_vec)).collect();
        assert_eq!(places, [Some(b"a:3".to_vec()), Some(b"a:4".to_vec()), Some(b"a:7".to_vec())]);
    }

    #[test]
    fn a_batch_is_bounded_and_of_one_input() {
        let mut batch = Batch::of("a", 1, line(1, &"x".repeat(MAX_LINE - 2)));
        assert!(batch.add("a", 2, line(2, "yy")).is_err(), "a byte too many");
        assert!(batch.add("b", 2, line(2, "y")).is_err(), "another input");
        assert!(batch.add("a", 1 << 40, line(1 << 40, "y")).is_err(), "too far away");
        assert!(batch.add("a", 2, line(2, "y")).is_ok());
        assert!(batch.body().len() <= MAX_LINE);
    }

    #[test]
    fn every_line_is_passed_on_once_in_order_and_what_is_too_long_is_named() {
        let mut lines: Vec<Line> = (1..=10_000).map(|n| line(n, &format!("event {n}"))).collect();
        lines[4_999].truncated = Some(2 << 20);
        let (mut events, mut problems) = (Vec::new(), Vec::new());
        for portion in portions(lines) {
            match portion {
                Portion::Batch(batch) => events.extend(batch.lines.into_iter().map(|(number, _)| number)),
                Portion::Problem(problem) => problems.push(problem),
            }
        }
        assert_eq!(events, (1..=10_000).filter(|n| *n != 5_000).collect::<Vec<_>>());
        assert!(problems.len() == 1 && problems[0].starts_with("a:b.txt:5000: "), "{problems:?}");
    }
}
