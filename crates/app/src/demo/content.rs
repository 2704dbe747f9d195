//! The bytes of the origin's files: the same for the same seed and request target, with the magic bytes of their kind.

use sha2::{Digest, Sha256};

/// The extensions that have a kind of their own; anything else is bytes without meaning.
pub const KINDS: [&str; 12] = ["pdf", "png", "jpg", "gif", "zip", "docx", "mp4", "txt", "csv", "json", "xml", "html"];

/// The file that the origin has at a request target (path and query), at most `largest` bytes long, or a few more
/// where a kind needs them for its frame.
pub fn file(seed: u64, target: &str, largest: usize) -> Vec<u8> {
    let mut dice = Dice::of(seed, target);
    let size = dice.size(largest);
    match extension(target) {
        "pdf" => framed(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", b"\n%%EOF\n", size, &mut dice),
        "png" => framed(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\0\0\0\0IEND\xaeB`\x82", size, &mut dice),
        "jpg" => framed(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01", b"\xff\xd9", size, &mut dice),
        "gif" => framed(b"GIF89a", b"\0;", size, &mut dice),
        "zip" => framed(b"PK\x03\x04\x14\0\0\0\0\0", b"", size, &mut dice),
        "docx" => framed(b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0[Content_Types].xml", b"", size, &mut dice),
        "mp4" => framed(b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2", b"", size, &mut dice),
        "csv" => text("id,amount\n", "", size, |n| format!("{},{n}\n", n % 997)),
        "json" => text("{\"values\":[", "0]}\n", size, |n| format!("{n},")),
        "xml" => text("<?xml version=\"1.0\"?>\n<values>\n", "</values>\n", size, |n| format!("<value>{n}</value>\n")),
        "html" => text("<!doctype html>\n<html><body>\n", "</body></html>\n", size, |n| format!("<p>{n}</p>\n")),
        "txt" => text("", "", size, |n| format!("line {n}\n")).split_off(0),
        _ => framed(b"", b"", size, &mut dice),
    }
    .unique(seed, target)
}

/// The `Content-Type` that the origin sends with a target.
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
