//! The bytes of the origin's files: the same for the same seed and request target, with the magic bytes of their kind.

use sha2::{Digest, Sha256};

/// The extensions that have magic bytes or a grammar; anything else is bytes without meaning.
pub const KINDS: [&str; 12] = ["pdf", "png", "jpg", "gif", "zip", "docx", "mp4", "txt", "csv", "json", "xml", "html"];

/// A page that says what went wrong, as hosts send it under the name of any file.
pub const ERROR_PAGE: &str = "<!doctype html>\n<html><head><title>Sorry</title></head><body>Please sign in.</body></html>\n";

/// The file at a request target (path and query): `largest` bytes at most, or a few more where its kind needs them for
/// its frame. A target whose path contains `empty` has an empty file.
pub fn file(seed: u64, target: &str, largest: usize) -> Vec<u8> {
    if target.contains("empty") {
        return Vec::new();
    }
    let mut dice = Dice::of(seed, target);
    let size = dice.size(largest);
    let mut framed = |head: &[u8], tail: &[u8]| framed(head, tail, size, &mut dice);
    match extension(target) {
        "pdf" => framed(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", b"\n%%EOF\n"),
        "png" => framed(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\0\0\0\0IEND\xaeB`\x82"),
        "jpg" => framed(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01", b"\xff\xd9"),
        "gif" => framed(b"GIF89a", b"\0;"),
        "zip" => framed(b"PK\x03\x04\x14\0\0\0\0\0", b""),
        "docx" => framed(b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0[Content_Types].xml", b""),
        "mp4" => framed(b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2", b""),
        "txt" => text("", "", size, &mut dice, |n| format!("{n}\n")),
        "csv" => text("id,amount\n", "", size, &mut dice, |n| format!("{n},{}\n", n % 997)),
        "json" => text("{\"values\":[", "0]}\n", size, &mut dice, |n| format!("{n},")),
        "xml" => text("<?xml version=\"1.0\"?>\n<values>\n", "</values>\n", size, &mut dice, |n| format!("<v>{n}</v>\n")),
        "html" => text("<!doctype html>\n<html><body>\n", "</body></html>\n", size, &mut dice, |n| format!("<p>{n}</p>\n")),
        _ => framed(b"\0", b""),
    }
}

/// The `Content-Type` that is sent with a target.
pub fn media_type(target: &str) -> &'static str {
    match extension(target) {
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" => "image/jpeg",
        "gif" => "image/gif",
        "zip" => "application/zip",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "mp4" => "video/mp4",
        "csv" => "text/csv",
        "json" => "application/json",
        "xml" => "application/xml",
        "html" => "text/html; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn extension(target: &str) -> &str {
    let path = target.split('?').next().unwrap_or(target);
    path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, extension)| extension)
}

fn framed(head: &[u8], tail: &[u8], size: usize, dice: &mut Dice) -> Vec<u8> {
    let filling = size.saturating_sub(head.len() + tail.len());
    let mut bytes = head.to_vec();
    while bytes.len() < head.len() + filling.max(8) {
        bytes.extend_from_slice(&dice.next().to_le_bytes());
    }
    bytes.extend_from_slice(tail);
    bytes
}

fn text(head: &str, tail: &str, size: usize, dice: &mut Dice, line: impl Fn(u64) -> String) -> Vec<u8> {
    let mut text = head.to_owned();
    loop {
        let next = line(dice.next() >> 20);
        text.push_str(&next);
        if text.len() + next.len() + tail.len() > size {
            break;
        }
    }
    text.push_str(tail);
    text.into_bytes()
}

/// Numbers that look random and repeat from their seed (splitmix64, Steele et al. 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The dice of a seed.
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    fn of(seed: u64, target: &str) -> Self {
        let digest = Sha256::digest(target.as_bytes());
        let start = digest.iter().take(8).fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        Dice(start ^ seed)
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A size up to `largest`: small ones are as frequent as large ones.
    fn size(&mut self, largest: usize) -> usize {
        let ceiling = self.below(u64::try_from(largest.max(1)).unwrap_or(u64::MAX)) + 1;
        let shift = self.below(4) * 3;
        usize::try_from(ceiling >> shift).unwrap_or(largest)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use longshore_core::file_type::{FileTypes, declared_type};

    use super::*;

    #[test]
    fn every_kind_is_what_it_says() {
        let types = FileTypes::only(KINDS);
        for kind in KINDS {
            for number in 0..20 {
                let target = format!("/good/{number}.{kind}");
                let bytes = file(7, &target, 4_000);
                types.check(Some(kind), declared_type(Some(media_type(&target))), &bytes).unwrap();
                assert!(bytes.len() < 4_100, "{target}: {} bytes", bytes.len());
                assert_eq!(bytes, file(7, &target, 4_000), "{target} is not the same twice");
            }
        }
    }

    #[test]
    fn targets_and_seeds_differ() {
        let files: std::collections::BTreeSet<_> =
            ["/a.txt", "/b.txt", "/a.txt?v=2", "/a.txt?v=3"].iter().map(|target| file(1, target, 100)).collect();
        assert_eq!(files.len(), 4);
        assert_ne!(file(1, "/a.pdf", 100), file(2, "/a.pdf", 100));
        assert!(file(1, "/good/empty.txt", 100).is_empty());
    }
}
