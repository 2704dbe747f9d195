use proptest::prelude::*;

use super::*;

const PDF: &[u8] = b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n1 0 obj\n";
const JPEG: &[u8] = b"\xFF\xD8\xFF\xE0\x00\x10JFIF\x00\x01\x01\x01\x00H\x00H";
const PNG: &[u8] = b"\x89PNG\r\n\x1A\n\x00\x00\x00\rIHDR";
const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00";
const BMP: &[u8] = b"BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00";
const TIFF: &[u8] = b"II*\x00\x08\x00\x00\x00\x00\x00\x00\x00";
const WEBP: &[u8] = b"RIFF\x24\x00\x00\x00WEBPVP8 ";
const MP4: &[u8] = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom";
const MOV: &[u8] = b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  ";
const COMPOUND_FILE: &[u8] = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1\x00\x00\x00\x00";
const EXE: &[u8] = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xFF\xFF\x00\x00";
const PAGE: &[u8] = b"<!DOCTYPE html>\n<html><head><title>404</title></head><body>Not found</body></html>";

/// The local file header of a zip archive's entry, as a word processor writes it.
fn zip_entry(name: &str) -> Vec<u8> {
    let mut entry = b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00\x21\x00\x00\x00\x00\x00".to_vec();
    entry.extend([64, 0, 0, 0, 64, 0, 0, 0, name.len() as u8, 0, 0, 0]);
    entry.extend(name.as_bytes());
    entry.extend([0x9C; 64]);
    entry
}

fn office(directory: &str) -> Vec<u8> {
    ["[Content_Types].xml", "_rels/.rels", directory, directory].iter().flat_map(|name| zip_entry(name)).collect()
}

fn xact(extension: &str, bytes: &[u8]) -> Result<String, Failure> {
    FileTypes::xact().check(Some(extension), None, bytes).map(|verdict| verdict.file_type)
}

fn refused(result: Result<String, Failure>) -> String {
    let failure = result.expect_err("refused");
    assert_eq!((failure.class, failure.reason), (Class::Permanent, Reason::FileType));
    failure.message
}

#[test]
fn real_magic_bytes_are_recognised() {
    let samples: [(&[u8], &str); 10] = [
        (PDF, "pdf"),
        (JPEG, "jpg"),
        (PNG, "png"),
        (GIF, "gif"),
        (BMP, "bmp"),
        (TIFF, "tif"),
        (WEBP, "webp"),
        (MP4, "mp4"),
        (MOV, "mov"),
        (EXE, "exe"),
    ];
    for (bytes, kind) in samples {
        assert_eq!(sniff(bytes), Some(kind));
    }
    assert_eq!(sniff(COMPOUND_FILE), Some("ole"));
    assert_eq!(sniff(&office("word/document.xml")), Some("docx"));
    assert_eq!(sniff(&office("xl/workbook.xml")), Some("xlsx"));
    assert_eq!(sniff(&zip_entry("a.txt")), Some("zip"));
    assert_eq!(sniff(PAGE), Some("html"));
    assert_eq!(sniff(b"\xEF\xBB\xBF <HTML >"), Some("html"));
    assert_eq!(sniff(b"<?xml version='1.0'?><a/>"), Some("xml"));
    assert_eq!(sniff(b""), None);
}

#[test]
fn text_that_starts_like_a_binary_format_is_text() {
    for text in ["BMI,age\n21,40\n", "MZ is a name", "ID3 tags", "GIF89a is a format", "II*", "BZh", "a,b\n1,2\n"] {
        assert_eq!(sniff(text.as_bytes()), None, "{text}");
        assert_eq!(xact("csv", text.as_bytes()), Ok("CSV".into()), "{text}");
    }
}

#[test]
fn every_type_of_the_preset_passes_with_its_content() {
    let (docx, xlsx, zip) = (office("word/document.xml"), office("xl/workbook.xml"), zip_entry("XACTDOC.ZIPXML"));
    let samples: [(&str, &[u8]); 25] = [
        ("pdf", PDF),
        ("xml", b"<?xml version='1.0'?><a/>"),
        ("xml", b"<!-- made by hand --><claim/>"),
        ("txt", b"plain"),
        ("csv", b"a,b\n"),
        ("json", b"{\"a\":1}"),
        ("html", PAGE),
        ("htm", PAGE),
        ("xls", COMPOUND_FILE),
        ("xlsx", &xlsx),
        ("xlsx", COMPOUND_FILE),
        ("doc", COMPOUND_FILE),
        ("docx", &docx),
        ("docx", &zip),
        ("esx", &zip),
        ("esx", b"\x01\x02\x03\xFF"),
        ("jpg", JPEG),
        ("jpeg", JPEG),
        ("png", PNG),
        ("gif", GIF),
        ("bmp", BMP),
        ("tiff", TIFF),
        ("webp", WEBP),
        ("mov", MOV),
        ("mp4", MP4),
    ];
    for (extension, bytes) in samples {
        assert_eq!(xact(extension, bytes), Ok(extension.to_uppercase()), "{extension}");
    }
}

#[test]
fn an_error_page_is_not_a_document() {
    assert!(refused(xact("pdf", PAGE)).contains("holds html, not pdf"));
    refused(xact("docx", PAGE));
    refused(xact("json", PAGE));
    refused(xact("pdf", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"));
    assert!(refused(xact("jpg", b"{\"error\":\"not found\"}")).contains("plain text"));
    refused(xact("pdf", b"<html><body>%PDF- is what you wanted</body></html>"));
}

#[test]
fn content_of_a_type_that_is_not_allowed_is_refused() {
    refused(xact("pdf", EXE));
    refused(xact("txt", EXE));
    refused(xact("esx", EXE));
    refused(xact("jpg", &zip_entry("a.exe")));
    let only_pdf = FileTypes::only([".PDF"]);
    assert!(only_pdf.check(Some("pdf"), None, JPEG).is_err());
    assert!(only_pdf.check(Some("pdf"), Some("pdf"), PDF).is_ok());
    assert!(FileTypes::only(["xml"]).check(Some("xml"), None, PAGE).is_err());
}

#[test]
fn an_allowed_neighbour_or_unknown_content_passes() {
    assert_eq!(xact("jpg", PNG), Ok("JPG".into()));
    assert_eq!(xact("pdf", b"\x00\x01\x02 unknown \xFF"), Ok("PDF".into()));
    assert_eq!(xact("pdf", b"\r\n\r\n%PDF-1.4\n"), Ok("PDF".into()), "junk before the header");
    assert!(FileTypes::only(["jpeg"]).check(Some("jpg"), Some("jpg"), JPEG).is_ok());
}

#[test]
fn the_declared_type_counts_where_the_content_says_nothing() {
    let types = FileTypes::only(["pdf", "txt"]);
    assert!(types.check(Some("txt"), Some("json"), b"{}").is_err());
    assert!(types.check(Some("txt"), declared_type(Some("application/octet-stream")), b"x").is_ok());
    assert!(types.check(None, Some("txt"), b"x").is_ok());
    assert!(types.check(None, None, PDF).is_ok());
    assert!(types.check(None, None, b"x").is_err());
    assert!(types.check(None, Some("pdf"), b"sorry").is_err());
    assert_eq!(types.check(None, None, PDF).map(|v| v.file_type), Ok("UNKNOWN".to_string()));
}

#[test]
fn a_mismatch_may_be_a_warning() {
    let warn = FileTypes { on_mismatch: OnMismatch::Warn, ..FileTypes::only(["pdf"]) };
    let verdict = warn.check(Some("pdf"), None, PAGE).expect("stored");
    assert_eq!(verdict.file_type, "PDF");
    assert!(verdict.warned.is_some_and(|w| w.contains("holds html, not pdf")));
    assert_eq!(warn.check(Some("pdf"), None, PDF).map(|v| v.warned), Ok(None));
    assert!(warn.check(Some("exe"), None, PDF).is_err() && warn.check_extension(Some("exe")).is_err());
    assert!(FileTypes::only(["pdf"]).check(Some("pdf"), None, PAGE).is_err());
}

#[test]
fn an_extension_is_rejected_before_contact() {
    let failure = FileTypes::only(["pdf"]).check_extension(Some("exe")).expect_err("rejected");
    assert_eq!((failure.class, failure.reason), (Class::Rejected, Reason::FileType));
    assert!(failure.message.contains("exe") && failure.message.contains("allowed: pdf"));
    assert!(FileTypes::only(["pdf"]).check_extension(None).is_ok());
}

#[test]
fn the_extension_comes_from_the_path_or_the_query() {
    let of = |path, query| extension_of(path, query);
    assert_eq!(of("/a/b.PDF", None).as_deref(), Some("pdf"));
    assert_eq!(of("/a/b%2Epdf", None).as_deref(), Some("pdf"));
    assert_eq!(of("/get", Some("x=1&name=a.txt&filename=My%20File.DocX")).as_deref(), Some("docx"));
    assert_eq!(of("/get.aspx", Some("file=a.pdf")).as_deref(), Some("aspx"));
    assert_eq!(of("/a.b/c", Some("q=1")), None);
    assert_eq!(of("/.htaccess", None), None);
    assert_eq!(of("", None), None);
}

#[test]
fn declared_types_lose_their_parameters() {
    assert_eq!(declared_type(Some("Text/HTML; charset=utf-8")), Some("html"));
    assert_eq!(declared_type(Some("application/octet-stream")), None);
    assert_eq!(declared_type(Some("binary/octet-stream")), None);
    assert_eq!(declared_type(None), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_a_list_nothing_is_refused(extension in proptest::option::of("[a-z]{1,5}"), bytes: Vec<u8>) {
        prop_assert!(FileTypes::any().check(extension.as_deref(), Some("html"), &bytes).is_ok());
    }

    /// Hostile bytes after every signature that makes a parser read on.
    #[test]
    fn sniffing_never_panics(start in 0usize..8, bytes in proptest::collection::vec(any::<u8>(), 0..600), cut in 0usize..400) {
        let starts: [&[u8]; 8] = [b"PK\x03\x04", COMPOUND_FILE, b"", MP4, TIFF, b"\x7FELF", b"RIFF", b"ar"];
        let mut body = starts[start].to_vec();
        if start == 0 {
            body = office("word/");
            body.truncate(cut);
        }
        body.extend(bytes);
        sniff(&body);
        let _ = FileTypes::xact().check(Some("docx"), None, &body);
    }
}
