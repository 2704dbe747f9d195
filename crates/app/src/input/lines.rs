//! NDJSON and plain lists: one event a line.

use std::io::BufRead;

use anyhow::{Context, Result};

use super::Line;

/// The longest line that is accepted, in bytes.
pub(crate) const MAX_LINE: usize = 1 << 20;
/// How much is kept of a longer one.
const KEPT: usize = 4 << 10;

pub(super) struct Reader {
    reader: Box<dyn BufRead + Send>,
    name: String,
    url_field: Option<String>,
    comments: bool,
    number: u64,
    broken: bool,
}

impl Reader {
    pub(super) fn json(reader: Box<dyn BufRead + Send>, name: String, url_field: Option<&str>) -> Self {
        Reader { reader, name, url_field: url_field.map(str::to_owned), comments: false, number: 0, broken: false }
    }

    pub(super) fn plain(reader: Box<dyn BufRead + Send>, name: String) -> Self {
        Reader { reader, name, url_field: None, comments: true, number: 0, broken: false }
    }

    /// The next line without its end; nothing at the end of the input.
    fn line(&mut self) -> std::io::Result<Option<(Vec<u8>, Option<u64>)>> {
        let (mut line, mut length) = (Vec::new(), 0u64);
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                let cut = (length > MAX_LINE as u64).then_some(length);
                return Ok((length > 0).then_some((line, cut)));
            }
            let end = buffer.iter().position(|b| *b == b'\n');
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            length += piece.len() as u64;
            if length <= MAX_LINE as u64 {
                line.extend_from_slice(piece);
            } else {
                line.truncate(KEPT);
                line.shrink_to_fit();
            }
            let used = piece.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some((line, (length > MAX_LINE as u64).then_some(length))));
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.broken {
            self.number += 1;
            let read = self.line().with_context(|| format!("reading {}, line {}", self.name, self.number));
            let (line, truncated) = match read {
                Ok(line) => line?,
                Err(error) => {
                    self.broken = true;
                    return Some(Err(error));
                }
            };
            let event = line.trim_ascii();
            if event.is_empty() || (self.comments && event.starts_with(b"#")) {
                continue;
            }
            let (event, place) = (event.to_vec(), format!("{}:{}", self.name, self.number));
            return Some(Ok(Line { event, url_field: self.url_field.clone(), truncated, place }));
        }
        None
    }
}
