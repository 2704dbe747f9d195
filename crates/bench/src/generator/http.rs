//! Events to a running service, over HTTP: a batch of lines in each body, durable when it answers 202.
//!
//! A service that has no room for now (429), or whose log has none (503), is asked again after the time that it names.
//! A batch whose answer was lost is sent again: the service may have it twice then, and the tables have it once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::load::Load;
use super::pace::{Course, Pace, Sent, unix_us};
use super::plan::Kind;
use crate::error::Error;

/// The most events in a body; each has about a kilobyte.
const BATCH: usize = 500;
/// Connections.
const LANES: usize = 4;
/// Batches that wait for a connection.
const WAITING: usize = 4;
/// How long events of a schedule are gathered.
const LINGER: Duration = Duration::from_millis(5);
/// How long one batch is tried.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// The pause after a connection that failed.
const RECONNECT: Duration = Duration::from_millis(100);
/// The longest wait that a service is granted at once.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const ANSWER_BYTES: usize = 64 << 10;

/// Events as a body has them.
struct Batch {
    lines: Bytes,
    events: u64,
}

/// Sends all events of a load; see the module.
pub(super) async fn send(load: Load, url: &str, token: Option<String>, course: &Course) -> Result<Sent, Error> {
    if load.plan().kind != Kind::Events {
        return Err(Error::Plan("a service takes events alone over HTTP: kind must be `events`".to_owned()));
    }
    let door = Arc::new(Door::new(url, &load.plan().source, token)?);
    door.connect().await?;
    let (batches, waiting) = mpsc::channel(WAITING);
    let waiting = Arc::new(Mutex::new(waiting));
    let mut lanes = JoinSet::new();
    for _ in 0..LANES {
        let lane = Lane { door: door.clone(), connection: None, stop: course.stop.clone() };
        lanes.spawn(lane.run(waiting.clone(), course.sent.clone()));
    }
    drop(waiting);
    let mut pace = course.begin(load.plan());
    let fed = feed(&load, &mut pace, &batches, course).await;
    drop(batches);
    while let Some(ended) = lanes.join_next().await {
        ended.map_err(|error| Error::Refused(format!("a connection broke down: {error}")))??;
    }
    fed?;
    Ok(pace.end(course.sent.load(Relaxed)))
}

/// Hands each batch over when its events are due.
async fn feed(load: &Load, pace: &mut Pace, batches: &mpsc::Sender<Batch>, course: &Course) -> Result<(), Error> {
    let (mut next, end) = (load.plan().first, load.plan().numbers().end);
    while next < end && !course.stop.is_cancelled() {
        if let Some(pause) = pace.stall(next) {
            tokio::time::sleep(pause).await;
        }
        tokio::time::sleep_until(pace.due(next).into()).await;
        let upto = due_by(pace, next, end, Instant::now());
        let batch = batch(load, next..upto, &course.sent)?;
        // Nobody takes it: a connection has failed, which its own end tells.
        if batch.events > 0 && batches.send(batch).await.is_err() {
            return Ok(());
        }
        (next..upto).for_each(|number| pace.sent(number));
        next = upto;
        if load.plan().rate_per_s.is_some() {
            tokio::time::sleep(LINGER).await;
        }
    }
    Ok(())
}

/// Up to which number messages are due; at least one is.
fn due_by(pace: &Pace, next: u64, end: u64, now: Instant) -> u64 {
    let last = end.min(next + BATCH as u64);
    (next + 1..last).find(|number| pace.due(*number) > now || pace.stall(*number).is_some()).unwrap_or(last)
}

fn batch(load: &Load, numbers: std::ops::Range<u64>, sent: &AtomicU64) -> Result<Batch, Error> {
    let (mut lines, mut events) = (Vec::with_capacity(1_024 * BATCH), 0);
    for number in numbers {
        if load.plan().lose == Some(number) {
            sent.fetch_add(1, Relaxed);
            continue;
        }
        lines.extend_from_slice(load.message(number, unix_us())?.value.as_deref().unwrap_or_default());
        lines.push(b'\n');
        events += 1;
    }
    Ok(Batch { lines: Bytes::from(lines), events })
}

/// Where events are posted.
struct Door {
    authority: String,
    path: String,
    authorization: Option<String>,
}

impl Door {
    fn new(url: &str, source: &str, token: Option<String>) -> Result<Self, Error> {
        let uri: Option<Uri> = url.parse().ok();
        let plain = uri.filter(|uri| uri.scheme_str() == Some("http"));
        let authority = plain.as_ref().and_then(|uri| uri.authority()).map(|authority| match authority.port() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:80"),
        });
        let authority = authority.ok_or_else(|| Error::Plan(format!("url: {url:?} is not http://HOST:PORT")))?;
        let authorization = token.map(|token| format!("Bearer {token}"));
        Ok(Door { authority, path: format!("/v1/events/{source}"), authorization })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Error> {
        let failed = || format!("cannot reach the service at {}", self.authority);
        let stream = TcpStream::connect(&self.authority).await.map_err(Error::io(failed()))?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| Error::Refused(format!("{}: {error}", failed())))?;
        // Its errors come to whoever waits for the answer.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn request(&self, lines: Bytes) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::post(&self.path).header(HOST, &self.authority).header(CONTENT_TYPE, "application/x-ndjson");
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Full::new(lines)).map_err(|error| Error::Plan(format!("no request can be made of it: {error}")))
    }
}

/// One connection, one request at a time.
struct Lane {
    door: Arc<Door>,
    connection: Option<SendRequest<Full<Bytes>>>,
    stop: CancellationToken,
}

/// What became of a try.
enum Try {
    Taken,
    /// Again after this time.
    Later(Duration),
}

impl Lane {
    async fn run(mut self, waiting: Arc<Mutex<mpsc::Receiver<Batch>>>, sent: Arc<AtomicU64>) -> Result<(), Error> {
        loop {
            let next = waiting.lock().await.recv().await;
            let Some(Batch { lines, events }) = next else { return Ok(()) };
            self.deliver(lines).await?;
            sent.fetch_add(events, Relaxed);
        }
    }

    /// Posts a batch until it is taken.
    async fn deliver(&mut self, lines: Bytes) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            let tried = tokio::time::timeout(ANSWER, self.post(lines.clone())).await;
            let late = |_| Err(Error::Refused(format!("the service at {} does not answer", self.door.authority)));
            let wait = match tried.unwrap_or_else(late) {
                Ok(Try::Taken) => return Ok(()),
                Ok(Try::Later(wait)) => wait,
                Err(error @ Error::Plan(_)) => return Err(error),
                Err(error) if begun.elapsed() > PATIENCE || self.stop.is_cancelled() => return Err(error),
                Err(_) => {
                    self.connection = None;
                    RECONNECT
                }
            };
            if begun.elapsed() > PATIENCE {
                return Err(Error::Refused(format!("the service at {} took no events for too long", self.door.authority)));
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn post(&mut self, lines: Bytes) -> Result<Try, Error> {
        let broken = |error: hyper::Error| Error::Refused(format!("the service answers no more: {error}"));
        let mut connection = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => self.door.connect().await?,
        };
        connection.ready().await.map_err(broken)?;
        let (head, body) = connection.send_request(self.door.request(lines)?).await.map_err(broken)?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await;
        let said = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
        self.connection = Some(connection);
        match head.status {
            StatusCode::ACCEPTED => Ok(Try::Taken),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Ok(Try::Later(wait(&head.headers))),
            status => Err(Error::Plan(format!("the service answered {status}: {}", said.trim()))),
        }
    }
}

fn wait(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1)).min(LONGEST_WAIT)
}
