//! CSV and TSV (RFC 4180): one event a record, as a JSON object of its columns.

use std::io::BufRead;

use anyhow::{Context, Result, bail};
use csv::StringRecord;
use serde_json::{Map, Value};

use super::{Line, Lines, MAX_LINE};

/// Names under which the URL's column is looked for when none is named.
const USUAL: [&str; 6] = ["url", "attachment_url", "attachmenturl", "href", "link", "uri"];

struct Columns {
    names: Vec<String>,
    url: usize,
}

/// Opens a table; finds out whether it has a header and which column holds the URL.
pub(super) fn open(reader: Box<dyn BufRead + Send>, name: String, delimiter: u8, url_col: Option<&str>) -> Result<Lines> {
    let mut table = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(reader);
    let mut first = StringRecord::new();
    if !table.read_record(&mut first).with_context(|| format!("reading {name}, line 1"))? {
        return Ok(Box::new(std::iter::empty()));
    }
    let headless = first.iter().any(looks_like_url);
    let names = if headless { Vec::new() } else { first.iter().map(clean).collect() };
    // The URL's column may show only in the first record below the header.
    let mut second = StringRecord::new();
    let sample = if headless {
        first.clone()
    } else {
        table.read_record(&mut second).with_context(|| format!("reading {name}, line 2"))?;
        second.clone()
    };
    let url = url_column(&names, &sample, url_col).with_context(|| name.clone())?;
    let columns = if headless { headless_columns(first.len(), url) } else { Columns { names, url } };
    let begun =
        std::iter::once(Ok(sample)).filter(|r: &Result<StringRecord, csv::Error>| r.as_ref().is_ok_and(|r| !r.is_empty()));
    let records = begun.chain(table.into_records());
    Ok(Box::new(records.filter_map(move |record| line(record, &columns, &name).transpose())))
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

fn url_column(names: &[String], sample: &StringRecord, wanted: Option<&str>) -> Result<usize> {
    let width = names.len().max(sample.len());
    let found = match wanted {
        Some(wanted) => names.iter().position(|n| n == wanted).or_else(|| {
            let number: usize = wanted.parse().ok()?;
            (1..=width).contains(&number).then(|| number - 1)
        }),
        None => {
            let usual = USUAL.iter().find_map(|usual| names.iter().position(|n| n.eq_ignore_ascii_case(usual)));
            usual.or_else(|| sample.iter().position(looks_like_url))
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

fn line(record: Result<StringRecord, csv::Error>, columns: &Columns, name: &str) -> Result<Option<Line>> {
    let record = record.with_context(|| format!("reading {name}"))?;
    let number = record.position().map_or(0, csv::Position::line);
    if record.iter().all(|cell| cell.trim().is_empty()) {
        return Ok(None);
    }
    let cells = record.iter().enumerate().map(|(i, cell)| {
        let column = columns.names.get(i).cloned().unwrap_or_else(|| format!("column{}", i + 1));
        (column, Value::String(cell.to_owned()))
    });
    let event = Value::Object(cells.collect::<Map<_, _>>()).to_string().into_bytes();
    let length = event.len();
    let url_field = columns.names.get(columns.url).cloned();
    let truncated = (length > MAX_LINE).then_some(length as u64);
    let event = if truncated.is_some() { event[..MAX_LINE / 256].to_vec() } else { event };
    Ok(Some(Line { event, url_field, truncated, place: format!("{name}:{number}") }))
}
