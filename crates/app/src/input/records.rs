//! CSV and TSV (RFC 4180): one event a record, as a JSON object of its columns. A record that is no text (UTF-8), or
//! too long, is an event as it stands: the source judges it.

use std::io::BufRead;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::framing::{Framer, Record};
use super::{Line, Lines, MAX_LINE};

/// Names under which the URL's column is looked for when none is named.
const USUAL: [&str; 6] = ["url", "attachment_url", "attachmenturl", "href", "link", "uri"];

struct Columns {
    names: Vec<String>,
    url: usize,
}

/// Opens a table; finds out whether it has a header and which column holds the URL.
pub(super) fn open(reader: Box<dyn BufRead + Send>, name: String, delimiter: u8, url_col: Option<&str>) -> Result<Lines> {
    let mut table = Framer::new(reader, delimiter);
    let Some(first) = table.next().with_context(|| format!("reading {name}, line 1"))? else {
        return Ok(Box::new(std::iter::empty()));
    };
    if first.too_long.is_some() {
        bail!("{name}: its first line is longer than {MAX_LINE} bytes, or a quote in it is never closed: is it a table?");
    }
    let cells = texts(&first);
    let headless = cells.iter().any(|cell| looks_like_url(cell));
    let names: Vec<String> = if headless { Vec::new() } else { cells.iter().map(|cell| clean(cell)).collect() };
    // The URL's column may show only in the first record below the header.
    let sample = if headless { Some(first) } else { table.next().with_context(|| format!("reading {name}, line 2"))? };
    let shown = sample.as_ref().map(texts).unwrap_or_default();
    let url = url_column(&names, &shown, url_col).with_context(|| name.clone())?;
    let columns = if headless { headless_columns(shown.len(), url) } else { Columns { names, url } };
    let mut broken = false;
    let rest = std::iter::from_fn(move || {
        if broken {
            return None;
        }
        let read = table.next().transpose()?;
        broken = read.is_err();
        Some(read)
    });
    let records = sample.map(Ok).into_iter().chain(rest);
    Ok(Box::new(records.filter_map(move |record| match record {
        Ok(record) => line(&record, &columns, &name).map(Ok),
        Err(error) => Some(Err(anyhow::Error::new(error).context(format!("reading {name}")))),
    })))
}

fn texts(record: &Record) -> Vec<String> {
    record.cells.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect()
}

fn clean(name: &str) -> String {
    name.trim_start_matches('\u{feff}').trim().to_owned()
}

fn looks_like_url(cell: &str) -> bool {
    let cell = cell.trim_start_matches('\u{feff}').trim();
    cell.split_once("://").is_some_and(|(scheme, rest)| !rest.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric()))
}

fn headless_columns(width: usize, url: usize) -> Columns {
    let name = |i: usize| if i == url { "url".to_owned() } else { format!("column{}", i + 1) };
    Columns { names: (0..width).map(name).collect(), url }
}

fn url_column(names: &[String], sample: &[String], wanted: Option<&str>) -> Result<usize> {
    let width = names.len().max(sample.len());
    let found = match wanted {
        Some(wanted) => names.iter().position(|n| n == wanted).or_else(|| {
            let number: usize = wanted.parse().ok()?;
            (1..=width).contains(&number).then(|| number - 1)
        }),
        None => {
            let usual = USUAL.iter().find_map(|usual| names.iter().position(|n| n.eq_ignore_ascii_case(usual)));
            usual.or_else(|| sample.iter().position(|cell| looks_like_url(cell)))
        }
    };
    found.map_or_else(|| bail!(no_column(names, width, wanted)), Ok)
}

fn no_column(names: &[String], width: usize, wanted: Option<&str>) -> String {
    let there =
        if names.is_empty() { format!("{width} columns without names") } else { format!("the columns {}", names.join(", ")) };
    match wanted {
        Some(wanted) => format!("there is no column '{wanted}'; it has {there} (--url-col takes a name or a number from 1)"),
        None => format!("no column looks like a URL; it has {there}: name the right one with --url-col"),
    }
}

fn line(record: &Record, columns: &Columns, name: &str) -> Option<Line> {
    let place = format!("{name}:{}", record.line);
    let url_field = columns.names.get(columns.url).cloned();
    if record.too_long.is_some() {
        return Some(Line { event: record.raw.clone(), url_field, truncated: record.too_long, place });
    }
    if record.cells.iter().all(|cell| cell.trim_ascii().is_empty()) {
        return None;
    }
    let texts: Option<Vec<&str>> = record.cells.iter().map(|cell| std::str::from_utf8(cell).ok()).collect();
    let Some(texts) = texts else {
        return Some(Line { event: record.raw.clone(), url_field, truncated: None, place });
    };
    let cells = texts.into_iter().enumerate().map(|(i, cell)| {
        let column = columns.names.get(i).cloned().unwrap_or_else(|| format!("column{}", i + 1));
        (column, Value::String(cell.to_owned()))
    });
    let event = Value::Object(cells.collect::<Map<_, _>>()).to_string().into_bytes();
    let length = event.len();
    let truncated = (length > MAX_LINE).then_some(length as u64);
    let event = if truncated.is_some() { event[..MAX_LINE / 256].to_vec() } else { event };
    Some(Line { event, url_field, truncated, place })
}
