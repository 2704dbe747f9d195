//! Prometheus' text exposition format, read strictly: what a scraper would not take fails the test.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

/// One scrape.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    /// By name: the kind, and the help.
    pub(crate) families: BTreeMap<String, (String, String)>,
    pub(crate) samples: Vec<Sample>,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// The family's name.
    pub(crate) family: String,
    /// The name as it stands there: with `_bucket`, `_sum` or `_count` for histograms.
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Exposition {
    /// Reads all lines; each must be a help, a type, or a sample of the family whose type was last told.
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let (mut read, mut family) = (Exposition::default(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                let twice = read.families.insert(name.to_owned(), (String::new(), help.to_owned()));
                assert_eq!(twice, None, "{name} comes twice");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                name.clone_into(&mut family);
                read.families.get_mut(name).unwrap_or_else(|| panic!("{name} has no help")).0 = kind.to_owned();
            } else {
                read.samples.push(sample(line, &family));
            }
        }
        read.check();
        read
    }

    fn check(&self) {
        let mut series = BTreeSet::new();
        for sample in &self.samples {
            assert!(series.insert((&sample.name, &sample.labels)), "twice: {sample:?}");
            let (kind, _) = &self.families[&sample.family];
            let suffix = sample.name.strip_prefix(&sample.family).unwrap_or_else(|| panic!("of another family: {sample:?}"));
            let fits = if kind == "histogram" { ["_bucket", "_sum", "_count"].contains(&suffix) } else { suffix.is_empty() };
            assert!(fits, "{kind}: {sample:?}");
            assert!(sample.value.is_finite(), "{sample:?}");
            assert!(kind != "counter" || sample.value >= 0.0, "{sample:?}");
        }
        self.families.iter().filter(|(_, (kind, _))| kind == "histogram").for_each(|(name, _)| self.check_histogram(name));
    }

    /// Buckets of each series rise, in their bounds and in their counts, to the count of all.
    fn check_histogram(&self, name: &str) {
        let mut buckets: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in self.samples.iter().filter(|sample| sample.name == format!("{name}_bucket")) {
            let mut labels = sample.labels.clone();
            let bound = labels.remove("le").unwrap().replace("+Inf", "inf").parse().unwrap();
            buckets.entry(labels).or_default().push((bound, sample.value));
        }
        for (labels, buckets) in buckets {
            assert!(buckets.is_sorted() && buckets.iter().map(|(_, count)| count).is_sorted(), "{name} {labels:?} {buckets:?}");
            let last = buckets.last().unwrap();
            let count = self.samples.iter().find(|s| s.name == format!("{name}_count") && s.labels == labels).unwrap();
            assert_eq!((last.0, last.1), (f64::INFINITY, count.value), "{name} {labels:?}");
        }
    }

    /// The sum over all series of this name whose labels are as said.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            sample.name == name && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|is| is == value))
        };
        self.samples.iter().filter(fits).map(|sample| sample.value).sum()
    }

    /// The labels of each family, without the one of histograms' own.
    pub(crate) fn labels(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for sample in &self.samples {
            let own = sample.labels.keys().filter(|label| *label != "le").cloned();
            labels.entry(sample.family.clone()).or_default().extend(own);
        }
        labels
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// `name{label="value",…} number`
fn sample(line: &str, family: &str) -> Sample {
    let at = line.find(['{', ' ']).unwrap_or_else(|| panic!("no sample: {line}"));
    let (name, mut rest) = line.split_at(at);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            assert!(is_name(label), "{line}");
            let (value, after) = quoted(after).unwrap_or_else(|| panic!("no end of a value: {line}"));
            assert_eq!(labels.insert(label.to_owned(), value), None, "a label twice: {line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number: {line}"));
    Sample { family: family.to_owned(), name: name.to_owned(), labels, value }
}

/// A value up to its closing quote, and what comes after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('"' | '\\') => value.push(escaped),
                _ => return None,
            },
            _ => value.push(c),
        }
    }
    None
}
