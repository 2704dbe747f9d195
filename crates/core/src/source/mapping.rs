//! Mappings by name, and what each brings along: columns, paths, file types.

use super::expression::MapError;
use super::jmes::JmesMapping;
use super::s3::{self, S3Mapping};
use super::{Decoded, Purpose, RawEvent, cloudevents, urls, xact};
use crate::file_type::FileTypes;
use crate::inventory::Shape;
use crate::outcome::Failure;
use crate::path::FILE_NAME;

/// How the bytes of an event are read.
#[derive(Debug, Clone)]
pub enum Mapping {
    /// One URL in each event, as plain text, as a JSON text or as a JSON object that holds it in a field.
    Urls,
    /// The claims events of the preset `xact`.
    Xact,
    /// Any JSON event.
    Jmes(Box<JmesMapping>),
    /// CloudEvents, structured or binary.
    CloudEvents(Box<JmesMapping>),
    /// Notifications of S3 and of what speaks like it.
    S3(Box<S3Mapping>),
}

/// The names of the presets.
pub const PRESETS: [&str; 4] = ["urls", "xact", "cloudevents", "s3-notification"];

/// The object path of a source that names none.
const DEFAULT_PATH: &str = "{host}/{path}";

impl Mapping {
    /// The mapping of a preset, as it is without a user's own fields; nothing where there is no such preset
    /// (see [`PRESETS`]).
    pub fn preset(name: &str) -> Option<Mapping> {
        Mapping::new(Some(name), &[]).ok()
    }

    /// The mapping of a preset with a user's own fields, or without a preset of the fields alone (see
    /// [`JmesMapping`]). `cloudevents` takes the fields of [`JmesMapping`] in place of its own, `s3-notification` takes
    /// `url`, `urls` and `xact` take none.
    pub fn new(preset: Option<&str>, fields: &[(String, String)]) -> Result<Mapping, MapError> {
        let fixed = |mapping: Mapping, name: &str| match fields.first() {
            Some((field, _)) => Err(MapError::new(field, format!("the preset {name} is fixed and takes no fields"))),
            None => Ok(mapping),
        };
        match preset {
            None => JmesMapping::new(fields).map(|mapping| Mapping::Jmes(Box::new(mapping))),
            Some(name @ "urls") => fixed(Mapping::Urls, name),
            Some(name @ "xact") => fixed(Mapping::Xact, name),
            Some("cloudevents") => cloudevents::mapping(fields).map(|mapping| Mapping::CloudEvents(Box::new(mapping))),
            Some("s3-notification") => S3Mapping::new(fields).map(|mapping| Mapping::S3(Box::new(mapping))),
            Some(other) => {
                let message = format!("there is no preset '{other}'; there are: {}", PRESETS.join(", "));
                Err(MapError::new("preset", message))
            }
        }
    }

    /// The version of the mapping; rows of the events table carry it.
    pub fn version(&self) -> String {
        match self {
            Mapping::Urls => urls::VERSION.to_owned(),
            Mapping::Xact => xact::VERSION.to_owned(),
            Mapping::Jmes(mapping) => mapping.version(),
            Mapping::CloudEvents(mapping) => format!("cloudevents/1+{}", mapping.version()),
            Mapping::S3(mapping) => mapping.version(),
        }
    }

    /// The object path where the user gives none.
    pub fn default_path(&self) -> &'static str {
        match self {
            Mapping::Xact => xact::PATH,
            _ => DEFAULT_PATH,
        }
    }

    /// The types of files that may be stored where the user says nothing.
    pub fn default_file_types(&self) -> FileTypes {
        match self {
            Mapping::Xact => FileTypes::xact(),
            _ => FileTypes::any(),
        }
    }

    /// What an object path may name beside the fields of every source
    /// (for [`PathTemplate::parse_with`](crate::path::PathTemplate::parse_with)). `filename` is the name that the
    /// preset makes or the event gives, or else that in the URL.
    pub fn path_columns(&self) -> Vec<&str> {
        match self {
            Mapping::Urls => vec![FILE_NAME],
            Mapping::Xact => xact::PATH_COLUMNS.to_vec(),
            Mapping::Jmes(mapping) | Mapping::CloudEvents(mapping) => mapping.columns().chain([FILE_NAME]).collect(),
            Mapping::S3(_) => s3::COLUMNS.into_iter().chain([FILE_NAME]).collect(),
        }
    }

    /// The tables of a source with this mapping.
    pub(super) fn shape(&self, source: &str) -> Shape {
        let names = |columns: &[&str]| columns.iter().map(|c| (*c).to_owned()).collect::<Vec<String>>();
        let everywhere = |columns: Vec<String>| Shape {
            source: source.to_owned(),
            attachments: columns.clone(),
            failed: columns.clone(),
            events: columns,
        };
        match self {
            Mapping::Urls => Shape::of(source),
            Mapping::Xact => Shape {
                source: source.to_owned(),
                attachments: names(&xact::ATTACHMENT_COLUMNS),
                failed: Vec::new(),
                events: names(&xact::EVENT_COLUMNS),
            },
            Mapping::Jmes(mapping) | Mapping::CloudEvents(mapping) => everywhere(mapping.columns().map(str::to_owned).collect()),
            Mapping::S3(_) => everywhere(names(&s3::COLUMNS)),
        }
    }

    pub(super) fn decode(&self, raw: &RawEvent<'_>, purpose: Purpose) -> Result<Decoded, Failure> {
        match self {
            Mapping::Urls => urls::decode(raw),
            Mapping::Xact => xact::decode(raw, purpose),
            Mapping::Jmes(mapping) => mapping.decode(raw),
            Mapping::CloudEvents(mapping) => cloudevents::decode(mapping, raw),
            Mapping::S3(mapping) => mapping.decode(raw),
        }
    }
}
