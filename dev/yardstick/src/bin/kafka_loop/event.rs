//! Events of the preset `xact` as a producer makes them, of 600 to 960 bytes, with one attachment each.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Result;

/// What adjusters write, more or less of it.
const NOTE: &str = "Water came through the roof above the north bedroom; ceiling, two walls and the floor are wet, photographs \
were taken of each. The insured has moved furniture to the garage and asks when drying can begin, and who is going to call \
about the carpet. Second visit agreed with the contractor, who brings the moisture readings of the first week with him then.";

/// An event that is made again and again into the same memory.
#[derive(Default)]
pub struct Event {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

impl Event {
    /// The event of this number: its attachment is `URL/NUMBER.bin`.
    pub fn make(&mut self, trace_id: std::fmt::Arguments<'_>, number: u64, url: &str) -> Result<()> {
        self.key.clear();
        self.key.write_fmt(trace_id)?;
        self.value.clear();
        let note = &NOTE[..usize::try_from(number.wrapping_mul(7_919) % NOTE.len() as u64)?];
        write!(
            self.value,
            "{{\"type\":\"claims.property.xn.documentsReceived\",\"version\":\"1\",\"utcDateTime\":\"2026-11-23T19:45:32.749511+00:00\",\
             \"traceId\":\"{trace_id}\",\"eventId\":null,\"data\":{{\"description\":\"Documents received\",\
             \"assignmentId\":\"A{number:08}\",\"originalAssignmentId\":\"A{number:08}\",\"xnAddress\":\"XN.EXAMPLE.{office}\",\
             \"carrierId\":\"{carrier}\",\"estimateVersion\":\"2\",\"note\":\"{note}\",\"author\":\"J. Doe\",\
             \"dateTime\":\"2026-11-23T12:45:32\",\"adm\":{{\"coverageLoss\":{{\"claimNumber\":\"CLM-{number:09}\"}}}},\
             \"contact\":{{\"type\":\"insured\",\"name\":\"Erika Mustermann\",\"contactMethods\":{{\"phone\":{{\"type\":\"cell\",\
             \"number\":\"555-0100\",\"extension\":\"\"}}}}}},\"attachments\":[\"{url}/{number:07}.bin\"]}}}}",
            office = number % 97,
            carrier = 3_000_000 + number % 211,
        )?;
        Ok(())
    }
}

/// Microseconds since 1970.
pub fn micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()
}
