//! The statistics that a commit carries for each data file, by which readers leave files out (Delta protocol,
//! §Per-file Statistics).
//!
//! A minimum may be too low and a maximum too high, never the other way round: long texts are cut down for a minimum
//! and rounded up for a maximum, timestamps are in milliseconds, floored and ceiled. What cannot be said safely is
//! left out, which every reader takes as *unknown*.

use deltalake_core::arrow::array::{Array, ArrayRef, ArrowNumericType, AsArray, PrimitiveArray, RecordBatch};
use deltalake_core::arrow::compute::{max, max_string, min, min_string};
use deltalake_core::arrow::datatypes::{DataType, Date32Type, Int64Type, TimestampMicrosecondType};
use serde_json::{Map, Value, json};

use super::shape::day_text;

/// The protocol's default for `delta.dataSkippingNumIndexedCols`.
const INDEXED_COLUMNS: usize = 32;
/// Texts longer than this many characters are cut.
const TEXT_CHARACTERS: usize = 32;

/// The statistics of one file, gathered batch by batch.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    rows: usize,
    columns: Vec<(String, Bounds)>,
}

#[derive(Debug, Default)]
struct Bounds {
    nulls: usize,
    lowest: Option<Bound>,
    highest: Option<Bound>,
    unknown: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Text(String),
    Int64(i64),
    Timestamp(i64),
    Date(i32),
}

impl Stats {
    /// Takes in more rows of the same file.
    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        if self.columns.is_empty() {
            let names = batch.schema_ref().fields().iter().take(INDEXED_COLUMNS);
            self.columns = names.map(|f| (f.name().clone(), Bounds::default())).collect();
        }
        self.rows += batch.num_rows();
        for ((_, bounds), array) in self.columns.iter_mut().zip(batch.columns()) {
            bounds.add(array);
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The JSON text of the Add action.
    pub(crate) fn json(&self) -> String {
        let (mut lowest, mut highest, mut nulls) = (Map::new(), Map::new(), Map::new());
        for (name, bounds) in &self.columns {
            nulls.insert(name.clone(), json!(bounds.nulls));
            // Never one without the other: some readers take a file with a minimum and no maximum as empty.
            let both = bounds.lowest.as_ref().and_then(lower).zip(bounds.highest.as_ref().and_then(upper));
            lowest.extend(both.iter().map(|(low, _)| (name.clone(), low.clone())));
            highest.extend(both.iter().map(|(_, high)| (name.clone(), high.clone())));
        }
        json!({"numRecords": self.rows, "minValues": lowest, "maxValues": highest, "nullCount": nulls}).to_string()
    }
}

impl Bounds {
    fn add(&mut self, array: &ArrayRef) {
        self.nulls += array.null_count();
        let extremes = extremes(array);
        self.unknown |= extremes.is_none() && !self.is_all_null(array);
        let Some((low, high)) = extremes.filter(|_| !self.unknown) else {
            if self.unknown {
                (self.lowest, self.highest) = (None, None);
            }
            return;
        };
        self.lowest = Some(self.lowest.take().map_or(low.clone(), |l| l.min(low)));
        self.highest = Some(self.highest.take().map_or(high.clone(), |h| h.max(high)));
    }

    fn is_all_null(&self, array: &ArrayRef) -> bool {
        array.null_count() == array.len()
    }
}

/// The least and the greatest value, if there is any and the type has an order that all readers share.
fn extremes(array: &ArrayRef) -> Option<(Bound, Bound)> {
    match array.data_type() {
        DataType::Utf8 => {
            let texts = array.as_string::<i32>();
            Some((Bound::Text(min_string(texts)?.to_owned()), Bound::Text(max_string(texts)?.to_owned())))
        }
        DataType::Int64 => ends(array.as_primitive::<Int64Type>(), Bound::Int64),
        DataType::Timestamp(..) => ends(array.as_primitive_opt::<TimestampMicrosecondType>()?, Bound::Timestamp),
        DataType::Date32 => ends(array.as_primitive::<Date32Type>(), Bound::Date),
        _ => None,
    }
}

fn ends<T: ArrowNumericType>(array: &PrimitiveArray<T>, bound: impl Fn(T::Native) -> Bound) -> Option<(Bound, Bound)> {
    Some((bound(min(array)?), bound(max(array)?)))
}

fn lower(bound: &Bound) -> Option<Value> {
    match bound {
        Bound::Text(text) => Some(text.chars().take(TEXT_CHARACTERS).collect::<String>().into()),
        Bound::Timestamp(micros) => milliseconds(micros.div_euclid(1000)),
        other => exact(other),
    }
}

fn upper(bound: &Bound) -> Option<Value> {
    match bound {
        Bound::Text(text) => Some(round_up(text).into()),
        Bound::Timestamp(micros) => milliseconds(-(-i128::from(*micros)).div_euclid(1000) as i64),
        other => exact(other),
    }
}

fn exact(bound: &Bound) -> Option<Value> {
    match bound {
        Bound::Int64(value) => Some((*value).into()),
        Bound::Date(day) => day_text(*day).map(Value::from),
        Bound::Text(_) | Bound::Timestamp(_) => None,
    }
}

fn milliseconds(ms: i64) -> Option<Value> {
    let time = chrono::DateTime::from_timestamp_millis(ms)?;
    let four_digits = (1..=9999).contains(&chrono::Datelike::year(&time));
    four_digits.then(|| time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into())
}

/// The text itself if it is short, else a short text that sorts after it: cut, with the last character that has a
/// successor raised. If none has one, the whole text: a file with a minimum and no maximum is taken as empty by some
/// readers (the `deltalake` package's `to_pyarrow_dataset`, 1.6).
fn round_up(text: &str) -> String {
    let mut kept: Vec<char> = text.chars().take(TEXT_CHARACTERS + 1).collect();
    if kept.len() <= TEXT_CHARACTERS {
        return text.to_owned();
    }
    kept.truncate(TEXT_CHARACTERS);
    while let Some(last) = kept.pop() {
        if let Some(next) = successor(last) {
            kept.push(next);
            return kept.into_iter().collect();
        }
    }
    text.to_owned()
}

/// The next character, if it comes next for readers that compare UTF-8 bytes and for those that compare UTF-16 units.
fn successor(c: char) -> Option<char> {
    match c {
        '\u{D7FF}' => Some('\u{E000}'),
        '\u{FFFF}' => None,
        _ => char::from_u32(c as u32 + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_maximum_is_rounded_up() {
        let long = "z".repeat(40);
        let up = round_up(&long);
        assert!(up > long && up.chars().count() == TEXT_CHARACTERS, "{up}");
        assert_eq!(round_up("short"), "short");
        assert_eq!(round_up(&format!("a{}", "\u{10FFFF}".repeat(40))), "b");
        let last = "\u{10FFFF}".repeat(40);
        assert_eq!(round_up(&last), last);
        let emoji = "\u{1F600}".repeat(40);
        assert!(round_up(&emoji) > emoji && round_up(&emoji).encode_utf16().gt(emoji.encode_utf16()));
    }

    #[test]
    fn a_bound_that_cannot_be_said_takes_the_other_with_it() {
        let column = |name: &str, low: i64, high: i64| {
            let bounds =
                Bounds { lowest: Some(Bound::Timestamp(low)), highest: Some(Bound::Timestamp(high)), ..Bounds::default() };
            (name.to_owned(), bounds)
        };
        let year_10000 = 253_402_300_800_000_000;
        let columns = vec![column("good", 0, 1), column("late", 0, year_10000), column("early", i64::MIN, 0)];
        let json: Value = serde_json::from_str(&Stats { rows: 1, columns }.json()).expect("JSON");
        for side in ["minValues", "maxValues"] {
            let names: Vec<&String> = json[side].as_object().expect("an object").keys().collect();
            assert_eq!(names, ["good"], "{side}");
        }
    }

    #[test]
    fn timestamps_widen_to_milliseconds() {
        assert_eq!(lower(&Bound::Timestamp(1_500)), Some("1970-01-01T00:00:00.001Z".into()));
        assert_eq!(upper(&Bound::Timestamp(1_500)), Some("1970-01-01T00:00:00.002Z".into()));
        assert_eq!(upper(&Bound::Timestamp(2_000)), Some("1970-01-01T00:00:00.002Z".into()));
        assert_eq!(lower(&Bound::Timestamp(-1)), Some("1969-12-31T23:59:59.999Z".into()));
        assert_eq!(upper(&Bound::Timestamp(i64::MAX)), None);
        assert_eq!(lower(&Bound::Timestamp(i64::MIN)), None);
    }
}
