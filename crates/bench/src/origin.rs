//! The origin of a benchmark: an HTTP/1.1 server, in a process of its own, that is faster than what is measured.
//!
//! *Owns*: one listener with its connections, and counters. *Does not own*: the files' bytes ([`content`]).
//!
//! | request | answer |
//! |---|---|
//! | `GET /SIZE/DELAY_MS/…` | the file of this path: SIZE bytes, the first of them DELAY_MS milliseconds later |
//! | `GET /-/missing/…` | 404 |
//! | `GET /-/stats` | [`Stats`] as JSON |
//! | `POST /-/reset` | 204: counters begin anew |
//!
//! A request that waits is a timer and no thread. Connections are bounded by what the machine allows to be open, bodies
//! by what their readers take: a piece of at most 1 MiB is a view of one block that all share.

use std::convert::Infallible;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::error::Error;
use crate::{content, lifeline};

/// The pause after a connection could not be accepted: the process has too many open.
const NO_ROOM: Duration = Duration::from_millis(20);

/// How an origin is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginPlan {
    /// Where it listens; port 0 is a free one.
    #[serde(default = "loopback")]
    pub listen: SocketAddr,
}

impl Default for OriginPlan {
    fn default() -> Self {
        OriginPlan { listen: loopback() }
    }
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// What an origin has counted since it was started or reset. Requests below `/-/` do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Answers that ended, whole or not.
    pub served: u64,
    /// Answers under way: from the head of the request to the last byte of the answer.
    pub at_once: u64,
    /// The most of them that there were.
    pub at_once_max: u64,
}

/// Serves until standard input is closed. Prints `ready PORT` once it listens.
///
/// # Errors
/// When it cannot listen, or nobody reads what it prints.
pub async fn serve(plan: OriginPlan) -> Result<(), Error> {
    let origin = Origin::start(&plan).await?;
    let mut out = std::io::stdout().lock();
    let said = writeln!(out, "ready {}", origin.address().port()).and_then(|()| out.flush());
    drop(out);
    said.map_err(Error::io("cannot say where the origin listens"))?;
    lifeline::closed().await;
    Ok(())
}

/// The path, from `/`, of the file of this number in a run.
pub fn path(size: u64, delay_ms: u64, run: &str, number: u64) -> String {
    format!("/{size}/{delay_ms}/{run}/{number:08}.{}", content::EXTENSION)
}

/// The path of a file that is not there.
pub fn missing_path(run: &str, number: u64) -> String {
    format!("/-/missing/{run}/{number:08}.{}", content::EXTENSION)
}

/// A running origin; it ends when dropped, and its connections with it.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    counters: Arc<Counters>,
    accepting: JoinHandle<()>,
}

impl Origin {
    /// Starts an origin on the present runtime.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(plan: &OriginPlan) -> Result<Self, Error> {
        let failed = |error| Error::io(format!("the origin cannot listen at {}", plan.listen))(error);
        let listener = TcpListener::bind(plan.listen).await.map_err(failed)?;
        let (address, counters) = (listener.local_addr().map_err(failed)?, Arc::<Counters>::default());
        let accepting = tokio::spawn(accept(listener, counters.clone()));
        Ok(Origin { address, counters, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has counted.
    pub fn stats(&self) -> Stats {
        self.counters.stats()
    }

    /// Begins to count anew.
    pub fn reset(&self) {
        self.counters.reset();
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Debug, Default)]
struct Counters {
    served: AtomicU64,
    at_once: AtomicU64,
    at_once_max: AtomicU64,
}

impl Counters {
    fn stats(&self) -> Stats {
        let (served, at_once) = (self.served.load(Relaxed), self.at_once.load(Relaxed));
        Stats { served, at_once, at_once_max: self.at_once_max.load(Relaxed) }
    }

    fn reset(&self) {
        self.served.store(0, Relaxed);
        self.at_once_max.store(self.at_once.load(Relaxed), Relaxed);
    }
}

/// Counts an answer while it is under way.
struct Busy(Arc<Counters>);

impl Busy {
    fn new(counters: &Arc<Counters>) -> Self {
        let now = counters.at_once.fetch_add(1, Relaxed) + 1;
        counters.at_once_max.fetch_max(now, Relaxed);
        Busy(counters.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Relaxed);
        self.0.served.fetch_add(1, Relaxed);
    }
}

/// Accepts until it is dropped, and drops its connections then.
async fn accept(listener: TcpListener, counters: Arc<Counters>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(converse(stream, counters.clone())); }
                Err(_) => tokio::time::sleep(NO_ROOM).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, counters: Arc<Counters>) {
    let _ = stream.set_nodelay(true);
    let answering = service_fn(move |request: Request<Incoming>| answer(request, counters.clone()));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(None).pipeline_flush(true);
    // A peer that goes away is none of the origin's errors.
    let _ = server.serve_connection(TokioIo::new(stream), answering).await;
}

async fn answer(request: Request<Incoming>, counters: Arc<Counters>) -> Result<Response<Answer>, Infallible> {
    let path = request.uri().path();
    if let Some(asked) = path.strip_prefix("/-/") {
        return Ok(own(request.method(), asked, &counters));
    }
    let busy = Busy::new(&counters);
    let Some((size, delay)) = asked(path).filter(|_| request.method() == Method::GET) else {
        return Ok(plain(StatusCode::NOT_FOUND, Bytes::from_static(b"expected GET /SIZE/DELAY_MS/NAME\n")));
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut response = Response::new(Answer { pieces: Pieces::File(content::body(path, size)), _busy: Some(busy) });
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content::MEDIA_TYPE));
    Ok(response)
}

/// What a path asks for.
fn asked(path: &str) -> Option<(u64, Duration)> {
    let mut words = path.strip_prefix('/')?.splitn(3, '/');
    let (size, delay_ms) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().filter(|name| !name.is_empty())?;
    Some((size, Duration::from_millis(delay_ms)))
}

/// Answers what is asked about the origin itself.
fn own(method: &Method, asked: &str, counters: &Counters) -> Response<Answer> {
    match (method.as_str(), asked) {
        ("GET", "stats") => {
            let stats = serde_json::to_vec(&counters.stats()).unwrap_or_default();
            plain(StatusCode::OK, Bytes::from(stats))
        }
        ("POST", "reset") => {
            counters.reset();
            plain(StatusCode::NO_CONTENT, Bytes::new())
        }
        _ => plain(StatusCode::NOT_FOUND, Bytes::from_static(b"not here\n")),
    }
}

fn plain(status: StatusCode, body: Bytes) -> Response<Answer> {
    let mut response = Response::new(Answer { pieces: Pieces::Text(body), _busy: None });
    *response.status_mut() = status;
    response
}

/// The body of an answer.
struct Answer {
    pieces: Pieces,
    _busy: Option<Busy>,
}

enum Pieces {
    File(content::Body),
    Text(Bytes),
}

impl Answer {
    fn left(&self) -> u64 {
        match &self.pieces {
            Pieces::File(body) => body.left(),
            Pieces::Text(text) => text.len() as u64,
        }
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut self.pieces {
            Pieces::File(body) => body.next(),
            Pieces::Text(text) => Some(std::mem::take(text)).filter(|text| !text.is_empty()),
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}
