//! Hosts that answer as they are told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::outcome::{Class, Failure, Reason};
use longshore_core::time::Micros;
use longshore_stages::ports::{Body, Clock, Opened, Origin, Request};

use crate::{SimClock, locked};

/// How a host answers one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A file, whose body takes so long. Its bytes are those of its URL.
    File(Duration),
    /// A status.
    Status(u16),
    /// 429 with `Retry-After`.
    Wait(Duration),
    /// No connection for so long, then a timeout.
    Dead(Duration),
    /// The body breaks off.
    Short,
    /// Our own code panics.
    Panic,
}

/// A file at once.
pub const FILE: Answer = Answer::File(Duration::ZERO);

/// All hosts.
pub struct SimOrigin {
    clock: Arc<SimClock>,
    /// Answers by the beginning of the URL, one for each request in turn; the last one holds for ever.
    script: Mutex<Vec<(String, Vec<Answer>)>>,
    asked: Mutex<HashMap<String, Vec<Micros>>>,
}

impl SimOrigin {
    /// Hosts that give a file to every request.
    pub fn new(clock: Arc<SimClock>) -> Self {
        SimOrigin { clock, script: Mutex::default(), asked: Mutex::default() }
    }

    /// Says how URLs that begin so are answered, each URL for itself. What was said later wins.
    pub fn answer(&self, beginning: &str, answers: &[Answer]) {
        locked(&self.script).insert(0, (beginning.to_owned(), answers.to_vec()));
    }

    /// When a URL was asked for.
    pub fn asked(&self, url: &str) -> Vec<Micros> {
        locked(&self.asked).get(url).cloned().unwrap_or_default()
    }

    /// How many requests there were for URLs that begin so.
    pub fn requests(&self, beginning: &str) -> usize {
        locked(&self.asked).iter().filter(|(url, _)| url.starts_with(beginning)).map(|(_, times)| times.len()).sum()
    }

    /// The bytes of the file at a URL.
    pub fn file(url: &str) -> Bytes {
        Bytes::from(format!("the file at {url}"))
    }

    fn next_answer(&self, url: &str) -> Answer {
        let number = {
            let mut asked = locked(&self.asked);
            let times = asked.entry(url.to_owned()).or_default();
            times.push(self.clock.now());
            times.len() - 1
        };
        let script = locked(&self.script);
        let answers = script.iter().find(|(beginning, _)| url.starts_with(beginning)).map(|(_, answers)| answers);
        answers.and_then(|answers| answers.get(number).or(answers.last())).copied().unwrap_or(FILE)
    }
}

#[async_trait]
impl Origin for SimOrigin {
    async fn open(&self, request: Request) -> Result<Opened, Failure> {
        let transient = |reason| Failure::new(Class::Transient, reason, "as the script says");
        match self.next_answer(&request.url) {
            Answer::File(takes) => Ok(opened(SimBody { pieces: vec![Self::file(&request.url)], takes, end: Ok(None) })),
            Answer::Short => {
                let end = Err(transient(Reason::WrongLength));
                Ok(opened(SimBody { pieces: vec![Bytes::from_static(b"half")], takes: Duration::ZERO, end }))
            }
            Answer::Status(status @ (429 | 500 | 502 | 503 | 504)) => Err(transient(Reason::HttpStatus).with_status(status)),
            Answer::Status(status) => Err(Failure::new(Class::Permanent, Reason::HttpStatus, "no").with_status(status)),
            Answer::Wait(time) => {
                let failure = Failure::new(Class::Throttled, Reason::HostThrottled, "wait").with_status(429);
                Err(Failure { retry_after: Some(time), ..failure })
            }
            Answer::Dead(time) => {
                tokio::time::sleep(time).await;
                Err(transient(Reason::ConnectTimeout))
            }
            Answer::Panic => panic!("as the script says"),
        }
    }
}

fn opened(body: SimBody) -> Opened {
    Opened { status: 200, content_type: None, content_length: None, etag: None, body: Box::new(body) }
}

struct SimBody {
    pieces: Vec<Bytes>,
    takes: Duration,
    end: Result<Option<Bytes>, Failure>,
}

#[async_trait]
impl Body for SimBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        tokio::time::sleep(std::mem::take(&mut self.takes)).await;
        self.pieces.pop().map_or_else(|| self.end.clone(), |piece| Ok(Some(piece)))
    }
}
