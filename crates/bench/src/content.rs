//! What the origin serves.
//!
//! *Owns*: the bytes of each file, a pure function of its path and its size: a beginning that no other path has, then a
//! block of noise that is made once. To serve one costs next to nothing, and anybody can tell what its hash must be.
//! *Does not own*: how it is served ([`origin`](crate::origin)).
//!
//! Each file begins like a PDF document, so that no policy takes it for something else.

use std::sync::LazyLock;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// The content type of each file.
pub const MEDIA_TYPE: &str = "application/pdf";
/// The extension of each file's name.
pub const EXTENSION: &str = "pdf";

/// The length of the noise, which is repeated for larger files.
const BLOCK_BYTES: usize = 1 << 20;
/// What each file begins with.
const MAGIC: &str = "%PDF-1.7\n%";

static BLOCK: LazyLock<Bytes> = LazyLock::new(noise);

/// The pieces of a file's body, `size` bytes in all. Files of less than 26 bytes may equal each other.
pub fn body(path: &str, size: u64) -> Body {
    let head = Bytes::from(format!("{MAGIC}{:016x}\n", hash(path)));
    Body { head: Some(head), left: size }
}

/// The SHA-256 of a file's bytes, in lower-case hex.
pub fn sha256(path: &str, size: u64) -> String {
    let mut hash = Sha256::new();
    body(path, size).for_each(|piece| hash.update(&piece));
    hex(&hash.finalize())
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char]).collect()
}

/// A body that is yet to be sent.
#[derive(Debug, Clone)]
pub struct Body {
    head: Option<Bytes>,
    left: u64,
}

impl Body {
    /// Bytes that are yet to come.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl Iterator for Body {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let from = self.head.take().unwrap_or_else(|| BLOCK.clone());
        let length = from.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= length as u64;
        (length > 0).then(|| from.slice(..length))
    }
}

/// FNV-1a, 64 bits: the same in every build, unlike the standard library's.
fn hash(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Noise that no compression makes smaller (xorshift64*, Vigna 2016).
fn noise() -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    };
    let words: Vec<[u8; 8]> = std::iter::repeat_with(next).take(BLOCK_BYTES / 8).collect();
    Bytes::from(words.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_core::file_type::FileTypes;

    fn bytes(path: &str, size: u64) -> Vec<u8> {
        body(path, size).flatten().collect()
    }

    #[test]
    fn a_file_is_as_long_as_asked_and_the_same_each_time() {
        for size in [0, 1, 10, 26, 27, 28, 10_240, BLOCK_BYTES as u64 + 27, 3 * BLOCK_BYTES as u64 + 5] {
            let one = bytes("/a", size);
            assert_eq!(one.len() as u64, size);
            assert!(one == bytes("/a", size), "{size}");
            assert_eq!(sha256("/a", size), hex(&Sha256::digest(&one)), "{size}");
        }
        assert_eq!(body("/a", 7).left(), 7);
    }

    #[test]
    fn each_path_has_bytes_of_its_own() {
        let hashes: std::collections::HashSet<_> =
            (0..1_000).map(|n| sha256(&format!("/2048/0/run/{n:07}.pdf"), 2_048)).collect();
        assert_eq!(hashes.len(), 1_000);
        assert_ne!(sha256("/a", 100), sha256("/a", 101));
    }

    #[test]
    fn every_policy_that_takes_pdf_takes_it() {
        for types in [FileTypes::any(), FileTypes::xact(), FileTypes::only(["pdf"])] {
            for n in 0..100 {
                let verdict = types.check(Some(EXTENSION), Some(EXTENSION), &bytes(&format!("/{n}"), 512)).expect("accepted");
                assert_eq!((verdict.file_type.as_str(), verdict.warned), ("PDF", None));
            }
        }
    }

    #[test]
    fn the_noise_does_not_shrink() {
        let counted = BLOCK.iter().fold([0_u32; 256], |mut counted, byte| {
            counted[usize::from(*byte)] += 1;
            counted
        });
        let even = (BLOCK_BYTES / 256) as u32;
        assert!(counted.iter().all(|count| count.abs_diff(even) < even / 8), "{counted:?}");
    }
}
