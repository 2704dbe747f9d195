//! Request headers that an event asks for: what an event may not decide is refused.

use crate::outcome::{Class, Failure, Reason};

/// How many headers one attachment may have.
const COUNT: usize = 32;
/// How long names and values of one attachment's headers may be together, in bytes.
const BYTES: usize = 8 * 1_024;

/// Headers that frame the request, choose the host or ask for a part of the file: ours to write.
const OURS: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "if-range",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Refuses headers that are none (RFC 9110 §5.1, §5.5), that are ours to write, or that are too many.
pub(super) fn check(headers: &[(String, String)]) -> Result<(), Failure> {
    let refuse = |message: String| Err(Failure::new(Class::Rejected, Reason::InvalidUrl, message));
    if headers.len() > COUNT || headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > BYTES {
        return refuse(format!("the event gives the attachment more than {COUNT} headers, or more than {BYTES} bytes of them"));
    }
    for (name, value) in headers {
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) {
            return refuse(format!("the event gives the attachment a header with the name {name:?}, which is none"));
        }
        if value.chars().any(char::is_control) {
            return refuse(format!("the value of the header {name} that the event gives holds a control character"));
        }
        if OURS.contains(&name.to_ascii_lowercase().as_str()) {
            return refuse(format!("the event may not set the header {name}"));
        }
    }
    Ok(())
}
