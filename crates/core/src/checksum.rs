//! What an event promises about the bytes of an attachment.

use crate::outcome::{Class, Failure, Reason};

/// A SHA-256 that the bytes must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promised([u8; 32]);

impl Promised {
    /// Reads `sha256:` and 64 hex digits of any case. Anything else is a permanent failure, told before the host is
    /// contacted: a promise that cannot be checked must not pass for one that was.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let hex = text.trim().strip_prefix("sha256:").filter(|hex| hex.len() == 64);
        hex.and_then(digest).map(Promised).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            failure(Class::Permanent, format!("the event's checksum {shown:?} cannot be checked; write sha256:<64 hex digits>"))
        })
    }

    /// Compares it with what has arrived. Other bytes are transient: they may have been damaged on their way, or the
    /// host has not yet the version that the event speaks of.
    pub fn check(&self, arrived: &[u8; 32]) -> Result<(), Failure> {
        match self.0 == *arrived {
            true => Ok(()),
            false => Err(failure(Class::Transient, "the bytes are not those that the event promised (SHA-256)".to_owned())),
        }
    }
}

fn failure(class: Class, message: String) -> Failure {
    Failure::new(class, Reason::Checksum, message)
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|v| u8::try_from(v).ok());
        *byte = value(pair.first()?)? * 16 + value(pair.get(1)?)?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// The SHA-256 of `abc` (FIPS 180-4, example).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_promise_is_kept_or_broken() {
        let promised = Promised::parse(&format!(" sha256:{} ", ABC.to_uppercase())).expect("read");
        assert_eq!(promised.check(&Sha256::digest(b"abc").into()), Ok(()));
        let broken = promised.check(&Sha256::digest(b"abd").into()).expect_err("broken");
        assert_eq!((broken.class, broken.reason), (Class::Transient, Reason::Checksum));
    }

    #[test]
    fn what_cannot_be_checked_is_said() {
        let (short, odd) = (format!("sha256:{}", &ABC[1..]), format!("sha256:{}é", &ABC[2..]));
        for text in ["", ABC, "md5:900150983cd24fb0d6963f7d28e17f72", &short, &odd, &format!("sha256:+{}", &ABC[1..])] {
            let failure = Promised::parse(text).expect_err(text);
            assert_eq!((failure.class, failure.reason), (Class::Permanent, Reason::Checksum), "{text}");
        }
    }
}
