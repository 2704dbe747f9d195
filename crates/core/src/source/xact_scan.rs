//! A quick way through an `xact` event, for nearly all of them: one pass, without a thing allocated but the list.
//!
//! It never refuses: what it does not know for certain to be read the same by serde_json, it leaves to it (nothing is
//! returned), with all that may be said of a fault. What it returns is what serde_json would have read (a test compares the two
//! on events of all sorts, whole and damaged).

use super::xact_shape::{
    Adm, Contact, ContactMethods, CoverageLoss, Data, DataField, Email, Envelope, Lenient, List, Phone, Raw,
};

/// Deeper nesting is left to serde_json.
const DEEPEST: u32 = 64;

/// Reads an event; nothing where it is not plain.
pub(super) fn scan(text: &str) -> Option<Envelope<'_>> {
    let mut scanner = Scanner { text, at: 0, depth: 0 };
    let envelope = scanner.envelope()?;
    scanner.white();
    (scanner.at == text.len()).then_some(envelope)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

/// Which keys an object has had; one that is read and stands twice is left to serde_json.
#[derive(Default)]
struct Once(u32);

impl Once {
    fn first(&mut self, key: u32) -> Option<()> {
        let had = self.0 & (1 << key);
        self.0 |= 1 << key;
        (had == 0).then_some(())
    }
}

/// Reads the values of the keys that are named into fields; skips all others.
macro_rules! fields {
    ($scanner:ident, $target:ident, { $($key:literal => $number:literal $read:ident $($field:ident).+,)+ }) => {{
        let mut once = Once::default();
        $scanner.object(|scanner, key| {
            match key {
                $($key => {
                    once.first($number)?;
                    $target.$($field).+ = scanner.$read()?;
                })+
                _ => drop(scanner.value()?),
            }
            Some(())
        })?;
        Some($target)
    }};
}

impl<'a> Scanner<'a> {
    fn envelope(&mut self) -> Option<Envelope<'a>> {
        let mut envelope = Envelope::default();
        fields!(self, envelope, {
            "type" => 0 raw event_type,
            "version" => 1 raw version,
            "utcDateTime" => 2 raw event_time,
            "traceId" => 3 raw trace_id,
            "trace_id" => 4 raw trace_id_too,
            "data" => 5 data data,
        })
    }

    fn data(&mut self) -> Option<DataField<'a>> {
        let mut data = Box::new(Data::default());
        let read = fields!(self, data, {
            "description" => 0 raw description,
            "assignmentId" => 1 raw assignment_id,
            "originalAssignmentId" => 2 raw original_assignment_id,
            "xnAddress" => 3 raw xn_address,
            "carrierId" => 4 raw carrier_id,
            "estimateVersion" => 5 raw estimate_version,
            "note" => 6 raw note,
            "author" => 7 raw author,
            "senderReviewerName" => 8 raw sender_reviewer_name,
            "senderReviewerEmail" => 9 raw sender_reviewer_email,
            "carrierReviewerName" => 10 raw carrier_reviewer_name,
            "carrierReviewerEmail" => 11 raw carrier_reviewer_email,
            "dateTime" => 12 raw date_time,
            "attachments" => 13 list attachments,
            "adm" => 14 adm adm,
            "contact" => 15 contact contact,
        });
        read.map(DataField::Object)
    }

    fn adm(&mut self) -> Option<Lenient<Adm<'a>>> {
        self.lenient(|scanner| {
            let mut adm = Adm::default();
            fields!(scanner, adm, { "coverageLoss" => 0 coverage_loss coverage_loss, })
        })
    }

    fn coverage_loss(&mut self) -> Option<Lenient<CoverageLoss<'a>>> {
        self.lenient(|scanner| {
            let mut loss = CoverageLoss::default();
            fields!(scanner, loss, { "claimNumber" => 0 raw claim_number, })
        })
    }

    fn contact(&mut self) -> Option<Lenient<Contact<'a>>> {
        self.lenient(|scanner| {
            let mut contact = Contact::default();
            fields!(scanner, contact, {
                "type" => 0 raw contact_type,
                "name" => 1 raw name,
                "contactMethods" => 2 methods methods,
            })
        })
    }

    fn methods(&mut self) -> Option<Lenient<ContactMethods<'a>>> {
        self.lenient(|scanner| {
            let mut methods = ContactMethods::default();
            fields!(scanner, methods, { "phone" => 0 phone phone, "email" => 1 email email, })
        })
    }

    fn phone(&mut self) -> Option<Lenient<Phone<'a>>> {
        self.lenient(|scanner| {
            let mut phone = Phone::default();
            fields!(scanner, phone, { "type" => 0 raw phone_type, "number" => 1 raw number, "extension" => 2 raw extension, })
        })
    }

    fn email(&mut self) -> Option<Lenient<Email<'a>>> {
        self.lenient(|scanner| {
            let mut email = Email::default();
            fields!(scanner, email, { "address" => 0 raw address, })
        })
    }

    /// An object, or null.
    fn lenient<T>(&mut self, object: impl FnOnce(&mut Self) -> Option<T>) -> Option<Lenient<T>> {
        match self.peek()? {
            b'n' => self.literal("null").map(|_| Lenient(None)),
            _ => object(self).map(|object| Lenient(Some(object))),
        }
    }

    fn list(&mut self) -> Option<List<'a>> {
        if self.peek()? == b'n' {
            return self.literal("null").map(|_| List::Missing);
        }
        let mut entries = Vec::new();
        self.array(|scanner| {
            entries.push(scanner.raw()?);
            Some(())
        })?;
        Some(List::Entries(entries))
    }

    /// Any value as it stands; null is nothing.
    fn raw(&mut self) -> Option<Option<Raw<'a>>> {
        let value = self.value()?;
        Some((value != "null").then_some(Raw(value)))
    }

    /// Goes past a value; returns it as it stands.
    fn value(&mut self) -> Option<&'a str> {
        let from = self.at;
        match self.peek()? {
            b'"' => drop(self.text()?),
            b'{' => self.object(|scanner, _| scanner.value().map(drop))?,
            b'[' => self.array(|scanner| scanner.value().map(drop))?,
            b't' => self.literal("true")?,
            b'f' => self.literal("false")?,
            b'n' => self.literal("null")?,
            _ => self.number()?,
        }
        self.text.get(from..self.at)
    }

    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.nested(b'{', b'}', |scanner| {
            // A key with an escape may be one that is read.
            let key = scanner.text().filter(|key| !key.contains('\\'))?;
            scanner.white();
            scanner.take(b':')?;
            scanner.white();
            member(scanner, key)
        })
    }

    fn array(&mut self, mut entry: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.nested(b'[', b']', &mut entry)
    }

    fn nested(&mut self, open: u8, close: u8, mut part: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(open)?;
        self.depth = Some(self.depth + 1).filter(|depth| *depth <= DEEPEST)?;
        self.white();
        if self.peek()? != close {
            loop {
                part(self)?;
                self.white();
                match self.next()? {
                    b',' => self.white(),
                    next if next == close => break,
                    _ => return None,
                }
            }
        } else {
            self.at += 1;
        }
        self.depth -= 1;
        Some(())
    }
}

// Letter by letter: RFC 8259.
impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    fn white(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn literal(&mut self, literal: &str) -> Option<()> {
        self.at += literal.len();
        (self.text.get(self.at - literal.len()..self.at)? == literal).then_some(())
    }

    /// A text, without its quotes.
    fn text(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let from = self.at;
        loop {
            self.at += special(&self.text.as_bytes()[self.at..]);
            match self.next()? {
                b'"' => return self.text.get(from..self.at - 1),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => (0..4).try_for_each(|_| self.next().filter(u8::is_ascii_hexdigit).map(drop)),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.next()? {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Some(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
    }

    /// At least one digit.
    fn some_digits(&mut self) -> Option<()> {
        self.next().filter(u8::is_ascii_digit)?;
        self.digits();
        Some(())
    }
}

/// How many bytes come before the first quote, backslash or control character. Eight at a time: a byte of `less` has its
/// highest bit where the text's is below 0x20 (or, further up, where a lower one was), and so on.
fn special(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let less = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (less | zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')))) & HIGHS;
        if found != 0 {
            return n * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |b: &u8| *b < 0x20 || matches!(b, b'"' | b'\\');
    words.len() * 8 + rest.iter().position(is_special).unwrap_or(rest.len())
}

#[cfg(test)]
#[path = "xact_scan_tests.rs"]
mod tests;
