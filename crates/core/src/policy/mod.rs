//! What may be fetched: the verdict on a URL and on an address.
//!
//! - [`address`]: whether an IP address may be dialled (promise 6). Asked for literals in URLs, and again by the
//!   connector for the address that is really dialled.
//! - [`url`]: whether a URL may be fetched at all, and an explanation for people.
//! - [`expiry`]: until when a presigned URL is valid.
//! - [`known`]: origins allowed before, whose plain URLs need not be parsed again.
//! - [`redact`]: what of a URL may be shown (promise 9), and which part of it names the attachment (`identity`).
//!
//! Nothing here resolves names: that a name leads to a forbidden address is found by whoever dials.

pub mod address;
pub mod expiry;
pub mod known;
pub mod redact;
pub mod url;

pub use address::{AddressRule, Ruling};
pub use expiry::{Expiry, Urgency};
pub use url::{Checked, HostPattern, Policy, Verdict};
