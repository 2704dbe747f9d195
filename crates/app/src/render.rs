//! What the looking commands print: tables for people, JSON for programs. A closed pipe ends the output, not the
//! program with an error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use comfy_table::{ContentArrangement, Table, presets};
use longshore_core::format::ErrorNote;
use longshore_core::row::Cell;
use longshore_core::time::{self, Micros};
use serde_json::{Value, json};

/// A table that fits the terminal; in a pipe it is as wide as its content.
pub(crate) fn table<H: ToString>(header: impl IntoIterator<Item = H>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let width = io::stdout().is_terminal().then(width).flatten();
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table.set_header(header.into_iter().map(|name| name.to_string()));
    table
}

fn width() -> Option<u16> {
    let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    asked.or_else(|| rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col)).filter(|columns| *columns >= 40)
}

/// Prints one line, or many.
pub(crate) fn print(text: impl std::fmt::Display) -> Result<Printed> {
    match writeln!(io::stdout().lock(), "{text}") {
        Ok(()) => Ok(Printed::Read),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Printed::Unread),
        Err(error) => Err(error).context("standard output"),
    }
}

/// Whether anybody still reads what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Printed {
    /// Somebody does.
    Read,
    /// The pipe is closed.
    Unread,
}

/// Shows something every second, until Ctrl-C or until nobody reads it any more. What is shown begins with what it is
/// given: home, then clear to the end, on a terminal; nothing elsewhere.
pub(crate) async fn every_second(mut show: impl AsyncFnMut(&str) -> Result<Printed>) -> Result<()> {
    let before = if io::stdout().is_terminal() { "\u{1b}[H\u{1b}[J" } else { "" };
    loop {
        if show(before).await? == Printed::Unread {
            return Ok(());
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

/// Prints JSON for people and programs alike.
pub(crate) fn print_json(value: &Value) -> Result<Printed> {
    print(serde_json::to_string_pretty(value)?)
}

/// A point in time with all its digits, RFC 3339 in UTC.
pub(crate) fn exact_time(at: Micros) -> String {
    let exact = |t: chrono::DateTime<chrono::Utc>| t.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    chrono::DateTime::from_timestamp_micros(at).map_or_else(|| time::format(at), exact)
}

/// A day, `2026-11-23`.
pub(crate) fn day(days: i32) -> String {
    time::format(i64::from(days) * time::DAY).split('T').next().unwrap_or_default().to_owned()
}

/// An age for people, in its two largest units: `3 s`, `4 min 10 s`, `2 d 3 h`.
pub(crate) fn age(micros: Micros) -> String {
    let seconds = micros.max(0) / time::SECOND;
    match seconds {
        0 => format!("{} ms", micros.max(0) / 1_000),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Text from outside as it may be shown on a terminal: control characters are spelled out.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A cell for people.
pub(crate) fn cell_text(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Text(text) => harmless(text),
        Cell::Int64(number) => number.to_string(),
        Cell::Timestamp(at) => time::format(*at),
        Cell::Date(days) => day(*days),
        Cell::TextList(texts) => harmless(&texts.join(", ")),
    }
}

/// A cell for programs.
pub(crate) fn cell_json(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Text(text) => text.as_str().into(),
        Cell::Int64(number) => (*number).into(),
        Cell::Timestamp(at) => exact_time(*at).into(),
        Cell::Date(days) => day(*days).into(),
        Cell::TextList(texts) => texts.as_slice().into(),
    }
}

/// A failure as JSON has it.
pub(crate) fn note(error: &ErrorNote) -> Value {
    json!({
        "class": error.class,
        "reason": error.reason,
        "message": error.message,
        "http_status": error.http_status,
        "at": exact_time(error.at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        for (micros, text) in
            [(-5, "0 ms"), (1_500, "1 ms"), (59_000_000, "59 s"), (250_000_000, "4 min 10 s"), (183_600_000_000, "2 d 3 h")]
        {
            assert_eq!(age(micros), text);
        }
    }

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(cell_text(&Cell::Text("a\u{1b}[2Jb\nü".into())), "a\\u{1b}[2Jb\\nü");
    }

    #[test]
    fn times_keep_their_microseconds_for_programs() {
        assert_eq!(cell_json(&Cell::Timestamp(1_795_463_132_749_511)), "2026-11-23T19:45:32.749511Z");
        assert_eq!(cell_json(&Cell::Date(20_780)), "2026-11-23");
    }
}
