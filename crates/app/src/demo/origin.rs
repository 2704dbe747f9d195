//! A local server of files that are good, late, broken or hostile, for the demo and for tests.
//!
//! *Owns*: a thread of its own that serves HTTP/1.1 on a port of 127.0.0.1, a record of every request, and the canary: a
//! listener on another loopback address that nobody may dial.
//! The first component of a path chooses what happens, the rest which file it is (see [`super::content`]):
//!
//! | path | answer |
//! |---|---|
//! | `/good/…` | the file |
//! | `/fails-N/…` | 500 to the first N requests for it, then the file |
//! | `/missing/…` | 404 |
//! | `/endless/…` | a body that drips and never ends |
//! | `/short/…` | fewer bytes than `Content-Length` says, then the connection closes |
//! | `/changing/…` | other bytes at every request |
//! | `/throttle/…` | 429 with `Retry-After: 1` to the first request for it, then the file |
//! | `/slow-MS/…` | the file, MS milliseconds later |
//! | `/redirect/…` | 302 to `/good/…` |
//! | `/redirect-forbidden/…` | 302 to the canary |
//! | `/wrong-type/…` | an HTML page, whatever the name says |
//!
//! Anything else is 404. Heads of requests are bounded, connections by what the machine allows.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::content;

/// The longest head of a request that is read.
const MAX_HEAD: u64 = 16 * 1024;
/// The pause between two pieces of an endless body.
const DRIP: Duration = Duration::from_millis(50);
/// Where the canary sits: loopback, and not the address that callers may name as allowed.
const CANARY: [&str; 2] = ["127.0.0.2:0", "[::1]:0"];

/// What an origin is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Chooses the files' bytes.
    pub seed: u64,
    /// The size of the largest file, in bytes.
    pub largest: usize,
    /// How long each answer takes at least.
    pub delay: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { seed: 1, largest: 300_000, delay: Duration::ZERO }
    }
}

/// A running origin; it stops when dropped.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    canary: SocketAddr,
    state: Arc<State>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct State {
    options: Options,
    canary: SocketAddr,
    requests: Mutex<HashMap<String, Vec<Instant>>>,
    busy: AtomicU64,
    most_busy: AtomicU64,
    canary_dials: AtomicU64,
}

impl Origin {
    /// Starts an origin on a free port of 127.0.0.1, on a thread of its own.
    ///
    /// # Errors
    /// When no port can be listened on, or no thread be started.
    pub fn start(options: Options) -> io::Result<Self> {
        let listener = bound("127.0.0.1:0")?;
        let watched = CANARY.iter().find_map(|at| bound(at).ok());
        let watched = watched.ok_or_else(|| io::Error::other("neither 127.0.0.2 nor ::1 can be listened on"))?;
        let (address, canary) = (listener.local_addr()?, watched.local_addr()?);
        let stop = CancellationToken::new();
        let state = Arc::new(State {
            options,
            canary,
            requests: Mutex::default(),
            busy: AtomicU64::new(0),
            most_busy: AtomicU64::new(0),
            canary_dials: AtomicU64::new(0),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (serving, stopped) = (state.clone(), stop.clone());
        std::thread::Builder::new().name("origin".into()).spawn(move || {
            let served = stopped.run_until_cancelled_owned(serve(listener, watched, serving));
            if let Some(Err(error)) = runtime.block_on(served) {
                tracing::error!(%error, "the local origin does not serve");
            }
        })?;
        Ok(Origin { address, canary, state, stop })
    }

    /// The URL of a path, which begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the canary listens.
    pub fn canary(&self) -> SocketAddr {
        self.canary
    }

    /// The bytes of the file at a path, where they are the same at every request.
    pub fn file(&self, path: &str) -> Vec<u8> {
        self.state.file(path)
    }

    /// When a path was asked for, in order.
    pub fn requests(&self, path: &str) -> Vec<Instant> {
        self.state.log().get(path).cloned().unwrap_or_default()
    }

    /// The number of all requests so far.
    pub fn total_requests(&self) -> u64 {
        self.state.log().values().map(|times| times.len() as u64).sum()
    }

    /// The greatest number of requests that were being answered at once.
    pub fn most_at_once(&self) -> u64 {
        self.state.most_busy.load(Ordering::Relaxed)
    }

    /// How often the canary was dialled.
    pub fn canary_dials(&self) -> u64 {
        self.state.canary_dials.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn bound(address: &str) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts until it is dropped, and drops what it serves then.
async fn serve(listener: std::net::TcpListener, canary: std::net::TcpListener, state: Arc<State>) -> io::Result<()> {
    let (listener, canary) = (TcpListener::from_std(listener)?, TcpListener::from_std(canary)?);
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => { connections.spawn(converse(stream, state.clone())); }
            Ok(_) = canary.accept() => { state.canary_dials.fetch_add(1, Ordering::Relaxed); }
            Some(_) = connections.join_next() => {}
            else => tokio::time::sleep(DRIP).await,
        }
    }
}

/// Answers the requests of one connection, one after another.
async fn converse(stream: TcpStream, state: Arc<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(target) = read_request(&mut stream).await? {
        let number = state.note(&target);
        let _busy = Busy::new(&state);
        let answer = state.answer(&target, number);
        tokio::time::sleep(state.options.delay + answer.delay).await;
        if !answer.send(stream.get_mut()).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// The target of the next request; nothing when the client has gone or does not speak HTTP.
async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let (mut head, mut left) = (Vec::new(), MAX_HEAD);
    loop {
        let start = head.len();
        let read = (&mut *stream).take(left).read_until(b'\n', &mut head).await?;
        left -= read as u64;
        if !head.ends_with(b"\n") {
            return Ok(None);
        }
        if head[start..].trim_ascii().is_empty() {
            break;
        }
    }
    let line = String::from_utf8_lossy(&head);
    let mut words = line.lines().next().unwrap_or_default().split(' ');
    Ok((words.next() == Some("GET")).then(|| words.next().unwrap_or_default().to_owned()))
}

/// Counts a request while it is being answered.
struct Busy<'a>(&'a State);

impl<'a> Busy<'a> {
    fn new(state: &'a State) -> Self {
        let now = state.busy.fetch_add(1, Ordering::Relaxed) + 1;
        state.most_busy.fetch_max(now, Ordering::Relaxed);
        Busy(state)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is sent, and how it ends.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    delay: Duration,
    status: u16,
    headers: String,
    body: Vec<u8>,
    end: End,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum End {
    /// The body is as long as declared.
    #[default]
    Whole,
    /// The body is declared longer than it is.
    Short,
    /// The body is followed by drops, for ever.
    Never,
}

impl Answer {
    fn of(status: u16, headers: String, body: Vec<u8>) -> Self {
        Answer { status, headers, body, ..Answer::default() }
    }

    /// Sends the answer; tells whether the connection may go on.
    async fn send(self, stream: &mut TcpStream) -> io::Result<bool> {
        let mut head = format!("HTTP/1.1 {} {}\r\n{}", self.status, phrase(self.status), self.headers);
        let declared = match self.end {
            End::Whole => Some(self.body.len()),
            End::Short => Some(self.body.len() + 1_000),
            End::Never => None,
        };
        match declared {
            Some(bytes) => write!(head, "Content-Length: {bytes}\r\n\r\n").unwrap_or_default(),
            None => head.push_str("Transfer-Encoding: chunked\r\n\r\n"),
        }
        if self.end == End::Never {
            stream.write_all(head.as_bytes()).await?;
            return drip(stream).await;
        }
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        stream.write_all(&bytes).await?;
        Ok(self.end == End::Whole)
    }
}

async fn drip(stream: &mut TcpStream) -> io::Result<bool> {
    loop {
        stream.write_all(b"40\r\n................................................................\r\n").await?;
        tokio::time::sleep(DRIP).await;
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        404 => "Not Found",
        429 => "Too Many Requests",
        _ => "Internal Server Error",
    }
}

impl State {
    fn log(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Instant>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request; returns which one of its target it is, from 1.
    fn note(&self, target: &str) -> u64 {
        let mut log = self.log();
        let times = log.entry(target.to_owned()).or_default();
        times.push(Instant::now());
        times.len() as u64
    }

    fn file(&self, target: &str) -> Vec<u8> {
        let target = target.replacen("/redirect/", "/good/", 1);
        content::file(self.options.seed, &target, self.options.largest)
    }

    fn good(&self, target: &str) -> Answer {
        let headers = format!("Content-Type: {}\r\n", content::media_type(target));
        Answer::of(200, headers, self.file(target))
    }

    fn answer(&self, target: &str, number: u64) -> Answer {
        let behaviour = target.trim_start_matches('/').split('/').next().unwrap_or_default();
        let numbered = behaviour.rsplit_once('-').and_then(|(name, n)| Some((name, Some(n.parse::<u64>().ok()?))));
        match numbered.unwrap_or((behaviour, None)) {
            ("good", None) => self.good(target),
            ("fails", Some(times)) if number <= times => Answer::of(500, String::new(), b"not now".to_vec()),
            ("fails", Some(_)) => self.good(target),
            ("endless", None) => Answer { end: End::Never, body: Vec::new(), ..self.good(target) },
            ("short", None) => Answer { end: End::Short, ..self.good(target) },
            ("changing", None) => self.changed(target, number),
            ("throttle", None) if number == 1 => Answer::of(429, "Retry-After: 1\r\n".into(), b"slow down".to_vec()),
            ("throttle", None) => self.good(target),
            ("slow", Some(ms)) => Answer { delay: Duration::from_millis(ms), ..self.good(target) },
            ("redirect", None) => redirect(&target.replacen("/redirect/", "/good/", 1)),
            ("redirect-forbidden", None) => redirect(&format!("http://{}{target}", self.canary)),
            ("wrong-type", None) => Answer::of(200, "Content-Type: text/html\r\n".into(), content::ERROR_PAGE.into()),
            _ => Answer::of(404, String::new(), b"there is no such file".to_vec()),
        }
    }

    /// The file with other bytes at its end each time.
    fn changed(&self, target: &str, number: u64) -> Answer {
        let mut answer = self.good(target);
        answer.body.extend_from_slice(format!("{number:016}").as_bytes());
        answer
    }
}

fn redirect(location: &str) -> Answer {
    Answer::of(302, format!("Location: {location}\r\n"), Vec::new())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Write};

    use super::*;

    /// Asks for targets over one connection; returns all that came within 300 ms.
    fn ask(origin: &Origin, targets: &[&str]) -> String {
        let mut stream = std::net::TcpStream::connect(origin.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        for target in targets {
            write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        }
        let (mut all, mut piece, begun) = (Vec::new(), [0; 4096], Instant::now());
        while begun.elapsed() < Duration::from_millis(300) {
            match stream.read(&mut piece) {
                Ok(read) if read > 0 => all.extend_from_slice(&piece[..read]),
                _ => break,
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    #[test]
    fn paths_choose_what_happens() {
        let origin = Origin::start(Options { largest: 100, ..Options::default() }).unwrap();
        let head = |target: &str| ask(&origin, &[target]).lines().next().unwrap_or_default().to_owned();
        let twice = |target: &str| (head(target), head(target));
        let (ok, failed) = ("HTTP/1.1 200 OK".to_owned(), "HTTP/1.1 500 Internal Server Error".to_owned());
        assert_eq!(twice("/fails-1/a.txt"), (failed, ok.clone()));
        assert_eq!(twice("/throttle/a.txt"), ("HTTP/1.1 429 Too Many Requests".into(), ok.clone()));
        assert_eq!(head("/missing/a.txt"), "HTTP/1.1 404 Not Found");
        assert_eq!(head("/nonsense"), "HTTP/1.1 404 Not Found");
        assert!(ask(&origin, &["/redirect-forbidden/a"]).contains(&format!("Location: http://{}/", origin.canary())));
        assert_eq!(origin.requests("/fails-1/a.txt").len(), 2);
        assert_eq!(origin.canary_dials(), 0);
    }

    #[test]
    fn a_connection_takes_several_requests() {
        let origin = Origin::start(Options { largest: 100, ..Options::default() }).unwrap();
        let all = ask(&origin, &["/good/a.txt", "/good/b.txt"]);
        assert_eq!(all.matches("HTTP/1.1 200 OK").count(), 2, "{all}");
        let file = String::from_utf8(origin.file("/good/b.txt")).unwrap();
        assert!(all.ends_with(&file), "{all}");
        assert_eq!((origin.total_requests(), origin.canary_dials()), (2, 0));
    }

    #[test]
    fn broken_bodies_are_broken_as_said() {
        let origin = Origin::start(Options { largest: 100, ..Options::default() }).unwrap();
        let (short, whole) = (ask(&origin, &["/short/a.txt"]), origin.file("/short/a.txt").len());
        assert!(short.contains(&format!("Content-Length: {}\r\n", whole + 1_000)), "{short}");
        assert_ne!(ask(&origin, &["/changing/a.txt"]), ask(&origin, &["/changing/a.txt"]));
        let endless = ask(&origin, &["/endless/a.txt"]);
        assert!(endless.matches("\r\n40\r\n").count() > 1 && !endless.contains("\r\n0\r\n"), "{endless}");
    }

    #[test]
    fn a_dial_of_the_canary_counts() {
        let origin = Origin::start(Options::default()).unwrap();
        drop(std::net::TcpStream::connect(origin.canary()).unwrap());
        let begun = Instant::now();
        while origin.canary_dials() == 0 && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(origin.canary_dials(), 1);
    }
}
