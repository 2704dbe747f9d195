//! Input files: lists of URLs in many shapes, read as one event a line or record.
//!
//! Shapes: NDJSON, CSV, TSV, and plain lists; each may be gzipped, each may come from standard input (`-`). The shape
//! follows from the name's ending, else from the first line. Memory is bounded: of a line or record longer than
//! [`MAX_LINE`] only the beginning is kept, and the event is marked as cut.

mod framing;
mod lines;
mod records;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use anyhow::{Context, Result, bail};
use flate2::bufread::MultiGzDecoder;

pub(crate) use lines::MAX_LINE;

/// One event as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The event's bytes.
    pub(crate) event: Vec<u8>,
    /// The field that holds the URL, if it is not one of the usual ones.
    pub(crate) url_field: Option<String>,
    /// The whole length, if only the beginning was kept.
    pub(crate) truncated: Option<u64>,
    /// `file:line`.
    pub(crate) place: String,
}

/// The shape of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Ndjson,
    Separated(u8),
    Plain,
}

/// The events of an input, in order. A line that cannot be decoded is an event all the same: the source judges it.
pub(crate) type Lines = Box<dyn Iterator<Item = Result<Line>> + Send>;

/// Opens an input: a file's name or `-`.
pub(crate) fn open(name: &str, url_col: Option<&str>) -> Result<Lines> {
    let raw: Box<dyn Read + Send> = if name == "-" {
        Box::new(std::io::stdin())
    } else {
        if std::fs::metadata(name).is_ok_and(|found| found.is_dir()) {
            bail!("the input {name} is a directory: name the files in it, for example {}/*.csv", name.trim_end_matches('/'));
        }
        Box::new(File::open(name).with_context(|| format!("cannot read the input {name}"))?)
    };
    let shown = if name == "-" { "stdin".to_owned() } else { name.to_owned() };
    let mut reader = unpacked(raw).with_context(|| format!("cannot read the input {name}"))?;
    if let Some((what, remedy)) = unreadable(reader.fill_buf().with_context(|| format!("cannot read the input {name}"))?) {
        bail!("the input {name} is {what}: {remedy}");
    }
    let shape = match shape_of_name(name) {
        Some(shape) => shape,
        None => shape_of_content(reader.fill_buf().with_context(|| format!("cannot read the input {name}"))?, url_col),
    };
    match shape {
        Shape::Ndjson => Ok(Box::new(lines::Reader::json(reader, shown, url_col))),
        Shape::Plain => Ok(Box::new(lines::Reader::plain(reader, shown))),
        Shape::Separated(delimiter) => records::open(reader, shown, delimiter, url_col),
    }
}

/// What content is that is no list, by how it begins, and what to do about it.
fn unreadable(beginning: &[u8]) -> Option<(&'static str, &'static str)> {
    const KINDS: [(&[u8], &str, &str); 7] = [
        (b"PK\x03\x04", "a ZIP archive", "unpack it first, for example: unzip -p FILE | longshore fetch -"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first: zstdcat FILE | longshore fetch -"),
        (b"\xfd7zXZ\0", "compressed with xz", "unpack it first: xzcat FILE | longshore fetch -"),
        (b"BZh", "compressed with bzip2", "unpack it first: bzcat FILE | longshore fetch -"),
        (b"PAR1", "a Parquet file", "write it as NDJSON or CSV first"),
        (b"\xff\xfe", "text in UTF-16", "convert it first: iconv -f UTF-16 -t UTF-8 FILE | longshore fetch -"),
        (b"\xfe\xff", "text in UTF-16", "convert it first: iconv -f UTF-16 -t UTF-8 FILE | longshore fetch -"),
    ];
    KINDS.iter().find(|(begins, ..)| beginning.starts_with(begins)).map(|(_, what, remedy)| (*what, *remedy))
}

/// The content, unzipped if it begins as gzip does (RFC 1952 §2.3.1).
fn unpacked(raw: Box<dyn Read + Send>) -> std::io::Result<Box<dyn BufRead + Send>> {
    let mut reader = BufReader::with_capacity(1 << 16, raw);
    if reader.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(reader))));
    }
    Ok(Box::new(reader))
}

fn shape_of_name(name: &str) -> Option<Shape> {
    let lower = name.to_ascii_lowercase();
    let plain_name = lower.strip_suffix(".gz").unwrap_or(&lower);
    match plain_name.rsplit_once('.')?.1 {
        "ndjson" | "jsonl" | "json" => Some(Shape::Ndjson),
        "csv" => Some(Shape::Separated(b',')),
        "tsv" => Some(Shape::Separated(b'\t')),
        _ => None,
    }
}

fn shape_of_content(beginning: &[u8], url_col: Option<&str>) -> Shape {
    let first = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning).trim_ascii_start();
    match first.first() {
        Some(b'{' | b'"') if url_col.is_none() || first.starts_with(b"{") => Shape::Ndjson,
        _ if url_col.is_none() => Shape::Plain,
        _ => {
            let line = first.split(|b| *b == b'\n').next().unwrap_or_default();
            Shape::Separated(if line.contains(&b'\t') { b'\t' } else { b',' })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(name: &str, content: &[u8], url_col: Option<&str>) -> Vec<Line> {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join(name);
        File::create(&path).and_then(|mut f| f.write_all(content)).expect("write");
        let lines = open(path.to_str().expect("utf-8"), url_col).expect("open");
        lines.map(|l| l.expect("line")).collect()
    }

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|l| String::from_utf8_lossy(&l.event).into_owned()).collect()
    }

    #[test]
    fn plain_lists_skip_blank_lines_and_comments() {
        let lines = read("list.txt", b"# mine\nhttps://a/1\r\n\n  https://a/2 \nhttps://a/3", None);
        assert_eq!(texts(&lines), ["https://a/1", "https://a/2", "https://a/3"]);
        assert!(lines[2].place.ends_with("list.txt:5"), "{}", lines[2].place);
    }

    #[test]
    fn ndjson_is_kept_to_the_letter() {
        let lines = read("events.ndjson", b"{\"url\":  \"https://a/1\"}\n\n{broken\n", Some("url"));
        assert_eq!(texts(&lines), ["{\"url\":  \"https://a/1\"}", "{broken"]);
        assert_eq!(lines[0].url_field.as_deref(), Some("url"));
        assert!(lines[1].place.ends_with(":3"));
    }

    #[test]
    fn a_column_is_found_by_name_by_number_and_by_its_content() {
        let csv = b"id,link,note\n7,https://a/1,\"x, y\"\n8,https://a/2,\n";
        for url_col in [Some("link"), Some("2"), None] {
            let lines = read("list.csv", csv, url_col);
            assert_eq!(texts(&lines)[0], r#"{"id":"7","link":"https://a/1","note":"x, y"}"#, "{url_col:?}");
            assert_eq!(lines[0].url_field.as_deref(), Some("link"));
            assert!(lines[1].place.ends_with("list.csv:3"));
        }
    }

    #[test]
    fn a_headless_table_is_recognised() {
        let lines = read("list.tsv", b"https://a/1\tone\nhttps://a/2\ttwo\n", None);
        assert_eq!(texts(&lines), [r#"{"column2":"one","url":"https://a/1"}"#, r#"{"column2":"two","url":"https://a/2"}"#]);
    }

    #[test]
    fn a_column_that_is_not_there_is_said_with_those_that_are() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("a.csv");
        std::fs::write(&path, "id,link\n1,https://a/1\n").expect("write");
        let name = path.to_str().expect("utf-8");
        for wrong in ["url", "3", "0"] {
            let error = open(name, Some(wrong)).err().expect("refused");
            let error = format!("{error:#}");
            assert!(error.contains("id, link"), "{error}");
        }
    }

    #[test]
    fn gzip_is_recognised_by_its_content() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"https://a/1\nhttps://a/2\n").expect("pack");
        let packed = packed.finish().expect("pack");
        assert_eq!(texts(&read("list.txt.gz", &packed, None)), ["https://a/1", "https://a/2"]);
        assert_eq!(texts(&read("list", &packed, None)), ["https://a/1", "https://a/2"]);
    }

    #[test]
    fn a_record_that_is_no_text_is_an_event_as_it_stands() {
        let lines = read("list.csv", b"id,url\n1,https://a/1\n2,https://a/\xff\xfe\n3,https://a/3\n", None);
        assert_eq!((lines[1].event.as_slice(), lines[1].truncated), (&b"2,https://a/\xff\xfe"[..], None));
        assert!(lines[1].place.ends_with("list.csv:3"));
        assert_eq!(texts(&lines)[2], r#"{"id":"3","url":"https://a/3"}"#);
    }

    #[test]
    fn what_is_no_list_is_named_with_what_to_do() {
        let directory = tempfile::tempdir().expect("tempdir");
        for (name, content, says) in [
            ("a.zip", &b"PK\x03\x04rest"[..], "unzip -p"),
            ("a.csv", b"\xff\xfeu\0r\0l\0", "iconv"),
            ("a.ndjson.zst", b"\x28\xb5\x2f\xfdrest", "zstdcat"),
        ] {
            let path = directory.path().join(name);
            std::fs::write(&path, content).expect("write");
            let error = open(path.to_str().expect("utf-8"), None).err().expect("refused").to_string();
            assert!(error.contains(says), "{error}");
        }
        let error = open(directory.path().to_str().expect("utf-8"), None).err().expect("refused").to_string();
        assert!(error.contains("is a directory"), "{error}");
    }

    #[test]
    fn of_a_line_that_is_too_long_the_beginning_is_kept_and_the_next_line_is_whole() {
        let mut content = vec![b'x'; 3 * MAX_LINE];
        content.extend_from_slice(b"\nhttps://a/2\n");
        let lines = read("list.txt", &content, None);
        assert_eq!(lines[0].truncated, Some(3 * MAX_LINE as u64));
        assert!(lines[0].event.len() < MAX_LINE / 8);
        assert_eq!(texts(&lines)[1], "https://a/2");
    }
}
