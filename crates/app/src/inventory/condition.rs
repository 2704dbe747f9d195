//! One condition on a row: `COLUMN OP VALUE`, the value read by the column's type.

use std::cmp::Ordering;

use anyhow::{Context, Result, bail};
use chrono::NaiveDate;
use longshore_core::row::{Cell, Kind, TableSpec};
use longshore_core::time;

/// How a cell is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
}

/// Longer spellings first.
const OPS: [(&str, Op); 7] = [
    ("!=", Op::NotEqual),
    ("<=", Op::LessOrEqual),
    (">=", Op::GreaterOrEqual),
    ("=", Op::Equal),
    ("<", Op::Less),
    (">", Op::Greater),
    ("~", Op::Contains),
];

/// A condition that a row meets or not. An empty value stands for no value at all: `etag=` holds where there is none.
/// A cell without a value meets no other condition but `!=`.
#[derive(Debug)]
pub(super) struct Condition {
    /// The column's name.
    pub(super) column: String,
    at: usize,
    op: Op,
    value: Cell,
}

impl Condition {
    pub(super) fn parse(spec: &TableSpec, text: &str) -> Result<Self> {
        let end = text.find(|c: char| "!<>=~".contains(c)).context("write it as COLUMN OP VALUE with = != < <= > >= or ~")?;
        let (name, rest) = (text[..end].trim(), &text[end..]);
        let (sign, op) =
            *OPS.iter().find(|(sign, _)| rest.starts_with(sign)).context("the operators are = != < <= > >= and ~")?;
        let column = spec.columns.iter().find(|column| column.name == name);
        let column = column.with_context(|| no_such_column(spec, name))?;
        let value = rest[sign.len()..].trim();
        check_op(op, column.kind, value).with_context(|| format!("the column {name}"))?;
        let value =
            if value.is_empty() { Cell::Null } else { parse_value(column.kind, value).with_context(|| name.to_owned())? };
        Ok(Condition { column: column.name.clone(), at: 0, op, value })
    }

    /// Notes where the column is in the rows that come.
    pub(super) fn locate(&mut self, columns: &[String]) {
        self.at = columns.iter().position(|name| *name == self.column).unwrap_or(usize::MAX);
    }

    /// Whether the row meets it.
    pub(super) fn holds(&self, row: &[Cell]) -> bool {
        let cell = row.get(self.at).unwrap_or(&Cell::Null);
        match (cell, &self.value) {
            (Cell::Null, Cell::Null) => self.op == Op::Equal,
            (Cell::Null, _) | (_, Cell::Null) => self.op == Op::NotEqual,
            (Cell::TextList(items), Cell::Text(value)) => match self.op {
                Op::NotEqual => !items.contains(value),
                Op::Contains => items.iter().any(|item| item.contains(value.as_str())),
                _ => items.contains(value),
            },
            (cell, value) => self.compares(cell, value),
        }
    }

    fn compares(&self, cell: &Cell, value: &Cell) -> bool {
        let Some(order) = order(cell, value) else { return false };
        match self.op {
            Op::Equal => order.is_eq(),
            Op::NotEqual => order.is_ne(),
            Op::Less => order.is_lt(),
            Op::LessOrEqual => order.is_le(),
            Op::Greater => order.is_gt(),
            Op::GreaterOrEqual => order.is_ge(),
            Op::Contains => matches!((cell, value), (Cell::Text(cell), Cell::Text(value)) if cell.contains(value.as_str())),
        }
    }
}

fn order(cell: &Cell, value: &Cell) -> Option<Ordering> {
    match (cell, value) {
        (Cell::Text(a), Cell::Text(b)) => Some(a.cmp(b)),
        (Cell::Int64(a), Cell::Int64(b)) | (Cell::Timestamp(a), Cell::Timestamp(b)) => Some(a.cmp(b)),
        (Cell::Date(a), Cell::Date(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn check_op(op: Op, kind: Kind, value: &str) -> Result<()> {
    if value.is_empty() && !matches!(op, Op::Equal | Op::NotEqual) {
        bail!("the value is missing (only = and != take an empty one: no value)");
    }
    match (op, kind) {
        (Op::Contains, Kind::Int64 | Kind::Timestamp | Kind::Date) => bail!("~ works on text only"),
        (Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual, Kind::TextList) => {
            bail!("it is a list: take = (has it), != (has it not) or ~ (has one that contains it)")
        }
        _ => Ok(()),
    }
}

fn parse_value(kind: Kind, text: &str) -> Result<Cell> {
    match kind {
        Kind::Text | Kind::TextList => Ok(Cell::Text(text.to_owned())),
        Kind::Int64 => Ok(Cell::Int64(text.parse().with_context(|| format!("'{text}' is not a whole number"))?)),
        Kind::Date => Ok(Cell::Date(parse_day(text)?)),
        Kind::Timestamp => {
            let midnight = || parse_day(text).ok().map(|day| i64::from(day) * time::DAY);
            let at = time::parse_event_time(text).or_else(midnight);
            Ok(Cell::Timestamp(at.with_context(|| format!("'{text}' is not a time; write for example 2026-11-23T19:45:00Z"))?))
        }
    }
}

/// Reads a day, `2026-11-23`, as days since 1970-01-01.
pub(crate) fn parse_day(text: &str) -> Result<i32> {
    let day = NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d");
    let day = day.ok().with_context(|| format!("'{text}' is not a date; write for example 2026-11-23"))?;
    Ok(i32::try_from((day - NaiveDate::default()).num_days()).unwrap_or(i32::MAX))
}

/// The complaint about a column that is not there, with those that are.
pub(super) fn no_such_column(spec: &TableSpec, name: &str) -> String {
    let known: Vec<&str> = spec.columns.iter().map(|column| column.name.as_str()).collect();
    format!("the table {} has no column '{name}'; it has {}", spec.name, known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_core::inventory::Shape;

    fn holds(text: &str, cell: Cell) -> bool {
        let spec = Shape::of("urls").events_table();
        let attachments = Shape::of("urls").attachments_table();
        let spec = if text.starts_with("media_ids") { spec } else { attachments };
        let mut condition = Condition::parse(&spec, text).expect("a condition");
        condition.locate(std::slice::from_ref(&condition.column.clone()));
        condition.holds(&[cell])
    }

    fn text(value: &str) -> Cell {
        Cell::Text(value.into())
    }

    #[test]
    fn values_are_read_by_the_type_of_their_column() {
        assert!(holds("bytes_downloaded > 99", Cell::Int64(100)), "as numbers, not as text");
        assert!(!holds("bytes_downloaded>=101", Cell::Int64(100)));
        assert!(holds("file_type=PDF", text("PDF")) && !holds("file_type = pdf", text("PDF")));
        assert!(holds("blob_path~a=b", text("h/a=b.pdf")), "the first operator counts");
        let at = Cell::Timestamp(1_795_463_132_749_511);
        assert!(holds("downloaded_at>=2026-11-23", at.clone()) && holds("downloaded_at=2026-11-23T19:45:32.749511Z", at.clone()));
        assert!(holds("downloaded_at<2026-11-23T21:45:33+01:00", at));
        assert!(holds("event_date<=2026-11-23", Cell::Date(20_780)) && !holds("event_date<2026-11-23", Cell::Date(20_780)));
    }

    #[test]
    fn nothing_is_equal_to_nothing_only() {
        assert!(holds("etag=", Cell::Null) && !holds("etag!=", Cell::Null) && holds("etag!=", text("x")));
        assert!(holds("etag!=x", Cell::Null) && !holds("etag<x", Cell::Null) && !holds("etag~x", Cell::Null));
    }

    #[test]
    fn a_list_is_asked_for_its_items() {
        let ids = || Cell::TextList(vec!["abc".into(), "def".into()]);
        assert!(holds("media_ids=abc", ids()) && !holds("media_ids=ab", ids()) && holds("media_ids~ab", ids()));
        assert!(holds("media_ids!=x", ids()) && !holds("media_ids!=def", ids()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let spec = Shape::of("urls").attachments_table();
        for (wrong, why) in [
            ("file_type", "COLUMN OP VALUE"),
            ("nonsense=1", "media_id, trace_id"),
            ("bytes_downloaded=many", "whole number"),
            ("bytes_downloaded~1", "text only"),
            ("downloaded_at>soon", "not a time"),
            ("event_date=23.11.2026", "not a date"),
            ("bytes_downloaded>", "missing"),
            ("file_type!PDF", "operators"),
        ] {
            let error = format!("{:#}", Condition::parse(&spec, wrong).expect_err(wrong));
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
