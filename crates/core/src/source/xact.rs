//! The preset `xact`: claims events.

use url::Url;

use super::{Decoded, RawEvent, poison};
use crate::format::Columns;
use crate::outcome::Failure;

/// The version of this mapping.
pub(super) const VERSION: &str = "xact/1";
/// Further columns of `attachments`.
pub(super) const ATTACHMENT_COLUMNS: [&str; 2] = ["status_subtype", "assignment_id"];
/// Further columns of `events`.
pub(super) const EVENT_COLUMNS: [&str; 24] = [
    "status_subtype",
    "version",
    "description",
    "assignment_id",
    "original_assignment_id",
    "xn_address",
    "carrier_id",
    "estimate_version",
    "note",
    "author",
    "sender_reviewer_name",
    "sender_reviewer_email",
    "carrier_reviewer_name",
    "carrier_reviewer_email",
    "event_datetime_mdt",
    "attachments",
    "claim_number",
    "contact_type",
    "contact_name",
    "contact_phone_type",
    "contact_phone_number",
    "contact_phone_extension",
    "contact_email_address",
    "data_version",
];

pub(super) fn decode(_raw: &RawEvent<'_>) -> Result<Decoded, Failure> {
    Err(poison("the preset xact is not read yet"))
}

/// The last part of the object path.
pub(super) fn file_name(_url: &Url, _columns: &Columns) -> String {
    String::new()
}
