//! What the demo feeds in, and what must become of it.

use std::collections::BTreeMap;

use longshore_core::ids;
use longshore_core::outcome::{Class, Reason};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::content::KINDS;
use super::origin::Origin;

/// How an attachment must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Stored with these bytes.
    File { sha256: String, bytes: u64 },
    /// Stored with whatever bytes came.
    AnyFile,
    /// In `attachments_failed`.
    Failed { class: Class, reason: Reason },
}

/// The attachment of one URL.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) url: String,
    pub(super) end: End,
    /// Index in [`Script::groups`].
    pub(super) group: usize,
}

/// Attachments that show one thing.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) end: String,
    /// URLs, or lines for poison.
    pub(super) size: usize,
}

/// The events, and the prediction.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) lines: Vec<Vec<u8>>,
    pub(super) expected: BTreeMap<Uuid, Expected>,
    /// Lines that nobody can decode.
    pub(super) poison: Vec<&'static [u8]>,
    pub(super) groups: Vec<Group>,
    /// Lines that say again what another line says.
    pub(super) repeated: usize,
}

/// Lines that hold no event.
const POISON: [&[u8]; 5] =
    [b"{\"url\": \"https://exa", b"[1, 2]", b"{\"id\": \"no-url\"}", b"{\"url\": \"\"}", b"\xff\xfe not text"];

/// The demo's script against two origins; the second one throttles, so that its waiting slows nobody else.
pub(super) fn write(origin: &Origin, throttling: &Origin) -> Script {
    let mut script = Script::default();
    let failed = |class, reason| End::Failed { class, reason };
    script.files(origin, "good files of 12 kinds", "good", 216);
    script.urls("empty file", stored(b""), [origin.url("/good/empty.txt")]);
    script.files(origin, "first answer is 500", "fails-1", 20);
    script.files(origin, "first two answers are 500", "fails-2", 6);
    script.files(origin, "slow answers", "slow-300", 6);
    script.files(origin, "redirect to a file", "redirect", 6);
    script.files(throttling, "host says: wait (429)", "throttle", 6);
    script.urls("other bytes at each request", End::AnyFile, paths(origin, "changing", 4));
    script.urls("404", failed(Class::Permanent, Reason::HttpStatus), paths(origin, "missing", 8));
    script.urls("500 for ever", failed(Class::Transient, Reason::HttpStatus), paths(origin, "fails-99", 4));
    script.urls("body that never ends", failed(Class::Transient, Reason::TotalTimeout), paths(origin, "endless", 4));
    script.urls("body shorter than declared", failed(Class::Transient, Reason::WrongLength), paths(origin, "short", 4));
    let pages = (0..4).map(|n| origin.url(&format!("/wrong-type/{n}.pdf")));
    script.urls("error page named .pdf", failed(Class::Permanent, Reason::FileType), pages);
    script.urls("type that is not wanted", failed(Class::Rejected, Reason::FileType), [origin.url("/good/setup.exe")]);
    script.hostile(origin);
    script.poison();
    script.repeat(30);
    script
}

fn paths(origin: &Origin, behaviour: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| origin.url(&path(behaviour, n))).collect()
}

fn path(behaviour: &str, number: usize) -> String {
    format!("/{behaviour}/{number:03}.{}", KINDS[number % KINDS.len()])
}

fn stored(bytes: &[u8]) -> End {
    let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    End::File { sha256, bytes: bytes.len() as u64 }
}

impl Script {
    /// A group of files whose bytes are known.
    fn files(&mut self, origin: &Origin, name: &'static str, behaviour: &str, count: usize) {
        self.group(name, "stored", count);
        for number in 0..count {
            let path = path(behaviour, number);
            let end = stored(&origin.file(&path));
            self.url(origin.url(&path), end);
        }
    }

    /// A group of URLs that end alike.
    fn urls(&mut self, name: &'static str, end: End, urls: impl IntoIterator<Item = String>) {
        let urls: Vec<String> = urls.into_iter().collect();
        let shown = match &end {
            End::Failed { class, reason } => format!("{class}: {reason}"),
            End::File { .. } | End::AnyFile => "stored".to_owned(),
        };
        self.group(name, shown, urls.len());
        for url in urls {
            self.url(url, end.clone());
        }
    }

    fn group(&mut self, name: &'static str, end: impl Into<String>, size: usize) {
        self.groups.push(Group { name, end: end.into(), size });
    }

    fn url(&mut self, url: String, end: End) {
        let number = self.lines.len();
        let time = format!("2026-01-{:02}T12:00:00Z", number % 3 + 1);
        let line = json!({"id": format!("event-{number}"), "url": url, "event_time": time});
        self.lines.push(line.to_string().into_bytes());
        let group = self.groups.len() - 1;
        self.expected.insert(ids::url_media_id(&url), Expected { url, end, group });
    }

    /// URLs that must never be contacted. The canary counts whoever tries.
    fn hostile(&mut self, origin: &Origin) {
        let rejected = |reason| End::Failed { class: Class::Rejected, reason };
        let port = origin.canary().port();
        self.urls(
            "private address",
            rejected(Reason::ForbiddenAddress),
            [
                "http://169.254.169.254/latest/meta-data/iam".to_owned(),
                "http://10.0.0.1/report.pdf".to_owned(),
                "http://192.168.1.1/admin.html".to_owned(),
                "http://[fd00:ec2::254]/latest/meta-data/".to_owned(),
                format!("http://127.0.0.2:{port}/"),
                format!("http://2130706434:{port}/decimal"),
                format!("http://0x7f.0.0.2:{port}/hexadecimal"),
                format!("http://0177.0.0.2:{port}/octal"),
                format!("http://[::1]:{port}/"),
                format!("http://[::ffff:127.0.0.2]:{port}/mapped"),
                format!("http://[64:ff9b::7f00:2]:{port}/translated"),
            ],
        );
        self.urls(
            "other schemes",
            rejected(Reason::Scheme),
            ["file:///etc/passwd".to_owned(), format!("gopher://127.0.0.2:{port}/1")],
        );
        self.urls("no URL at all", rejected(Reason::InvalidUrl), ["see the attached file".to_owned()]);
        let redirects = paths(origin, "redirect-forbidden", 4);
        self.urls("redirect to a private address", rejected(Reason::Redirect), redirects);
    }

    fn poison(&mut self) {
        self.group("lines that are no event", "poison: undecodable", POISON.len());
        self.poison = POISON.to_vec();
        self.lines.extend(POISON.iter().map(|line| line.to_vec()));
    }

    /// Repeats lines: word for word, with another id and time, and as another signature of the same URL would.
    fn repeat(&mut self, count: usize) {
        let urls: Vec<String> = self.expected.values().map(|e| e.url.clone()).filter(|url| url.starts_with("http")).collect();
        let step = (urls.len() / count).max(1);
        for (number, url) in urls.into_iter().step_by(step).take(count).enumerate() {
            let line = json!({"id": format!("again-{number}"), "url": url, "event_time": "2026-01-04T00:00:00Z"});
            self.lines.push(line.to_string().into_bytes());
        }
        let first: Vec<_> = self.lines.iter().take(count).cloned().collect();
        self.lines.extend(first);
        self.repeated = 2 * count;
    }
}
