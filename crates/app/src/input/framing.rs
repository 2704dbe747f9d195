//! Splitting a table (RFC 4180) into records, each within bounds.
//!
//! A quote that is never closed would make one record of the rest of the file. Such a record is given up after
//! [`MAX_LINE`] bytes: its first line is the broken one, and reading goes on with the line after it.

use std::io::{self, BufRead};

use csv_core::ReadRecordResult;

use super::MAX_LINE;

/// The most columns of a record.
const MAX_COLUMNS: usize = 16_384;
/// The byte order mark of UTF-8. Taken away here: a first read that holds nothing else would seem to be the end.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// How much is kept of what is too long.
const KEPT: usize = 4 << 10;

/// A record as it stands in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Its bytes, without the line's end; of one that is too long only the beginning.
    pub(super) raw: Vec<u8>,
    /// Its cells without their quotes; none of one that is too long.
    pub(super) cells: Vec<Vec<u8>>,
    /// Its whole length in bytes as far as it was read, if it is too long.
    pub(super) too_long: Option<u64>,
    /// The number of its first line, from 1.
    pub(super) line: u64,
}

/// Reads records. Memory: three times [`MAX_LINE`], whatever the input.
pub(super) struct Framer {
    reader: Box<dyn BufRead + Send>,
    core: csv_core::Reader,
    delimiter: u8,
    /// What was read and is to be read again, from `at` on.
    back: Vec<u8>,
    at: usize,
    raw: Vec<u8>,
    cells: Vec<u8>,
    ends: Vec<usize>,
    lines: u64,
    begun: bool,
}

/// How far a record is.
enum Read {
    Record { cells: usize, ends: usize },
    TooLong,
    End,
}

impl Framer {
    pub(super) fn new(reader: Box<dyn BufRead + Send>, delimiter: u8) -> Self {
        let core = core(delimiter);
        let (cells, ends) = (vec![0; 1 << 10], vec![0; 32]);
        Framer { reader, core, delimiter, back: Vec::new(), at: 0, raw: Vec::new(), cells, ends, lines: 0, begun: false }
    }

    /// The next record; nothing at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        self.raw.clear();
        if !std::mem::replace(&mut self.begun, true) && self.reader.fill_buf()?.starts_with(BOM) {
            self.reader.consume(BOM.len());
        }
        match self.read()? {
            Read::End => Ok(None),
            Read::TooLong => self.give_up().map(Some),
            Read::Record { cells, ends } => Ok(Some(self.record(cells, ends))),
        }
    }

    fn read(&mut self) -> io::Result<Read> {
        let (mut cells, mut ends) = (0, 0);
        loop {
            let input = if self.at < self.back.len() { &self.back[self.at..] } else { self.reader.fill_buf()? };
            let (result, used, written, ended) = self.core.read_record(input, &mut self.cells[cells..], &mut self.ends[ends..]);
            self.raw.extend_from_slice(&input[..used]);
            self.consume(used);
            (cells, ends) = (cells + written, ends + ended);
            match result {
                ReadRecordResult::InputEmpty if self.raw.len() > MAX_LINE => return Ok(Read::TooLong),
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.cells.len() >= 2 * MAX_LINE => return Ok(Read::TooLong),
                ReadRecordResult::OutputFull => self.cells.resize(self.cells.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= MAX_COLUMNS => return Ok(Read::TooLong),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record if self.raw.len() > MAX_LINE => return Ok(Read::TooLong),
                ReadRecordResult::Record => return Ok(Read::Record { cells, ends }),
                ReadRecordResult::End => return Ok(Read::End),
            }
        }
    }

    fn consume(&mut self, used: usize) {
        if self.at < self.back.len() {
            self.at += used;
        } else {
            self.reader.consume(used);
        }
    }

    fn record(&mut self, cells: usize, ends: usize) -> Record {
        let blank = self.raw.iter().take_while(|b| matches!(b, b'\n' | b'\r')).filter(|b| **b == b'\n').count();
        let line = self.lines + blank as u64 + 1;
        self.lines += newlines(&self.raw);
        let mut start = 0;
        let of = |end: &usize| {
            let cell = self.cells[start..*end].to_vec();
            start = *end;
            cell
        };
        let found = self.ends[..ends].iter().map(of).collect();
        debug_assert!(self.ends[..ends].last().is_none_or(|last| *last == cells), "the last cell ends where the cells do");
        Record { raw: self.raw.trim_ascii().to_vec(), cells: found, too_long: None, line }
    }

    /// The first line of what is too long; reading goes on after it.
    fn give_up(&mut self) -> io::Result<Record> {
        let read = self.raw.len() as u64;
        let leading = self.raw.iter().take_while(|b| matches!(b, b'\n' | b'\r')).count();
        let line = self.lines + newlines(&self.raw[..leading]) + 1;
        let end = self.raw[leading..].iter().position(|b| *b == b'\n').map(|at| leading + at);
        let length = match end {
            Some(end) => {
                let again: Vec<u8> = self.raw[end + 1..].iter().chain(&self.back[self.at..]).copied().collect();
                (self.back, self.at) = (again, 0);
                self.lines += newlines(&self.raw[..=end]);
                read
            }
            None => {
                self.lines += newlines(&self.raw[..leading]);
                read + self.skip_line()?
            }
        };
        self.core = core(self.delimiter);
        let kept = &self.raw[leading..end.unwrap_or(self.raw.len())];
        let raw = kept[..kept.len().min(KEPT)].to_vec();
        Ok(Record { raw, cells: Vec::new(), too_long: Some(length), line })
    }

    /// Reads to the end of the line; returns how long that was.
    fn skip_line(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let input = if self.at < self.back.len() { &self.back[self.at..] } else { self.reader.fill_buf()? };
            if input.is_empty() {
                return Ok(skipped);
            }
            let end = input.iter().position(|b| *b == b'\n');
            let used = end.map_or(input.len(), |end| end + 1);
            skipped += used as u64;
            self.consume(used);
            if end.is_some() {
                self.lines += 1;
                return Ok(skipped);
            }
        }
    }
}

fn core(delimiter: u8) -> csv_core::Reader {
    csv_core::ReaderBuilder::new().delimiter(delimiter).build()
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// Read in pieces of a few bytes, so that every border falls somewhere.
    fn framed(content: &[u8], piece: usize) -> Vec<Record> {
        let reader = BufReader::with_capacity(piece, io::Cursor::new(content.to_vec()));
        let mut framer = Framer::new(Box::new(reader), b',');
        std::iter::from_fn(|| framer.next().expect("read")).collect()
    }

    fn cells(record: &Record) -> Vec<String> {
        record.cells.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect()
    }

    #[test]
    fn records_are_what_the_csv_crate_reads() {
        let content = b"\xef\xbb\xbfa,b\r\n\r\n1,\"x, \"\"y\"\"\nz\"\n\n2,5\" disk\n,\n\"\",\xc3\xa9\n3,\"open at the end\n";
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&content[..]);
        let expected: Vec<Vec<String>> =
            reader.records().map(|r| r.expect("record").iter().map(str::to_owned).collect()).collect();
        for piece in [3, 5, 4_096] {
            let records = framed(content, piece);
            assert_eq!(records.iter().map(cells).collect::<Vec<_>>(), expected, "pieces of {piece}");
            assert_eq!(records.iter().map(|r| r.line).collect::<Vec<_>>(), [1, 3, 6, 7, 8, 9], "pieces of {piece}");
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_its_own_line_only() {
        let mut content = b"id,url\n1,https://a/1\n2,\"https://a/2\n".to_vec();
        for n in 3..60_000 {
            content.extend_from_slice(format!("{n},https://a.example/some/path/{n}\n").as_bytes());
        }
        let records = framed(&content, 8_192);
        assert_eq!(records.len(), 60_000);
        assert_eq!((records[2].line, records[2].raw.as_slice()), (3, &b"2,\"https://a/2"[..]));
        assert!(records[2].too_long.is_some_and(|length| length > MAX_LINE as u64));
        assert!(records.iter().enumerate().all(|(n, record)| record.line == n as u64 + 1));
        assert_eq!(cells(&records[59_999]), ["59999", "https://a.example/some/path/59999"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_is_whole() {
        let mut content = b"1,".to_vec();
        content.extend(std::iter::repeat_n(b'x', 10 << 20));
        content.extend_from_slice(b"\n2,b\n");
        let records = framed(&content, 65_536);
        assert_eq!(records.len(), 2);
        assert_eq!((records[0].too_long, records[0].raw.len()), (Some((10 << 20) + 3), KEPT));
        assert_eq!((cells(&records[1]), records[1].line), (vec!["2".to_owned(), "b".to_owned()], 2));
        let commas = framed(&[vec![b','; 40_000], b"\n1,2\n".to_vec()].concat(), 65_536);
        assert!(commas[0].too_long.is_some() && commas.len() == 2, "too many columns");
    }
}
