//! Reports as files: JSON for programs, Markdown and one HTML page for people, lists for dashboards.
//!
//! *Owns*: the form and the names of these files. *Does not own*: figures ([`crate::model`]), verdicts
//! ([`crate::verdict`]), conclusions ([`crate::analysis`]): everything but `report.json` is derived from it, and can be
//! written again from it.
//!
//! | file | for |
//! |---|---|
//! | `report.json` | programs, and `longshore bench report` and `compare`: the raw figures |
//! | `report.md` | people: every chapter, in words and figures |
//! | `report.html` | people: the same verdicts with plots; one file, nothing is loaded from elsewhere |
//! | `benchmarks-bigger.json`, `benchmarks-smaller.json` | dashboards: name, unit, value; where more is better, and less |
//! | `benchmarks.json` | dashboards that know no direction: both lists, the direction in `extra` |

mod catalogue;
mod dashboard;
mod escape;
mod facts;
mod html;
mod markdown;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::analysis::{Analysis, analyse};
use crate::model::{Report, SCHEMA};
use crate::verdict::{Judged, judge};

pub use dashboard::{Entry, entries};
pub use facts::{required, rule, shown_verdict, summary, title};

/// The name of the raw report in its directory.
pub const RAW: &str = "report.json";

/// Why a report cannot be read or written.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The file or the directory.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// It is no report.
    #[error("{path} is no benchmark report: {cause}")]
    Form {
        /// Which.
        path: PathBuf,
        /// Where it is wrong.
        cause: serde_json::Error,
    },
    /// Another version wrote it.
    #[error(
        "{path} is a report of form {found}, and this version reads form {SCHEMA}: use the version of Longshore that wrote it"
    )]
    Schema {
        /// Which.
        path: PathBuf,
        /// Its form.
        found: u32,
    },
}

/// A report with all that is derived from it.
#[derive(Debug)]
pub struct Told<'a> {
    /// The figures.
    pub report: &'a Report,
    /// The verdicts.
    pub judged: Judged,
    /// The conclusions.
    pub analysis: Analysis,
}

impl<'a> Told<'a> {
    /// Of a report.
    pub fn of(report: &'a Report) -> Self {
        let judged = judge(report);
        let analysis = analyse(report, &judged);
        Self { report, judged, analysis }
    }
}

/// Reads a report, or the one in a directory.
///
/// # Errors
/// When there is none, or another version wrote it.
pub fn read(path: &Path) -> Result<Report, ReportError> {
    let path = if path.is_dir() { path.join(RAW) } else { path.to_owned() };
    let text = std::fs::read(&path).map_err(|cause| ReportError::File { path: path.clone(), cause })?;
    let form = |cause| ReportError::Form { path: path.clone(), cause };
    // The form first: a report of another one would be called broken.
    #[derive(serde::Deserialize)]
    struct Form {
        schema: u32,
    }
    let Form { schema } = serde_json::from_slice(&text).map_err(form)?;
    if schema != SCHEMA {
        return Err(ReportError::Schema { path, found: schema });
    }
    serde_json::from_slice(&text).map_err(form)
}

/// Writes a report into a directory, which is made: every file whole or not at all. Returns what was written.
///
/// # Errors
/// When a file cannot be written.
pub fn write(report: &Report, dir: &Path) -> Result<Vec<PathBuf>, ReportError> {
    std::fs::create_dir_all(dir).map_err(|cause| ReportError::File { path: dir.to_owned(), cause })?;
    let told = Told::of(report);
    let all = entries(report);
    let files = [
        (RAW, json(report, dir)?),
        ("report.md", markdown(&told)),
        ("report.html", html(&told)),
        ("benchmarks.json", json(&all, dir)?),
        ("benchmarks-bigger.json", json(&dashboard::bigger(&all), dir)?),
        ("benchmarks-smaller.json", json(&dashboard::smaller(&all), dir)?),
    ];
    files.into_iter().map(|(name, text)| put(&dir.join(name), &text)).collect()
}

/// The report in Markdown, in the order of the requirements' template.
pub fn markdown(told: &Told<'_>) -> String {
    markdown::document(told)
}

/// The report as one HTML page.
pub fn html(told: &Told<'_>) -> String {
    html::document(told)
}

fn json<T: serde::Serialize>(value: &T, dir: &Path) -> Result<String, ReportError> {
    serde_json::to_string(value).map_err(|cause| ReportError::Form { path: dir.to_owned(), cause }).map(|text| text + "\n")
}

/// Under another name first: somebody may be reading.
fn put(path: &Path, text: &str) -> Result<PathBuf, ReportError> {
    let part = path.with_extension("part");
    let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|cause| ReportError::File { path: path.to_owned(), cause })?;
    Ok(path.to_owned())
}
