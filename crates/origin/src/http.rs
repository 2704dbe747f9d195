//! `HttpOrigin`: from a URL to an open body, over redirects.

use std::error::Error as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, Uri};
use longshore_core::outcome::{Class, Failure, Reason};
use longshore_core::policy::Policy;
use longshore_stages::ports::{Opened, Origin, Request};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Position, Url};

use crate::answer::{Meaning, meaning, text};
use crate::body::{Bounds, Clocks, HttpBody, Lease};
use crate::connect::{Connector, Sender, host_of};
use crate::credentials::Credentials;
use crate::pool::{Pool, Slot};
use crate::settings::{MinThroughput, Settings, Timeouts};
use crate::tls::{self, SetupError};

/// How much of a body that nobody wants is read to keep its connection, and for how long.
const DRAIN_BYTES: usize = 16 * 1024;
const DRAIN_TIME: Duration = Duration::from_millis(500);

/// Headers that belong to the origin: they frame the message, or choose what we can read.
pub(crate) const OWN_HEADERS: [HeaderName; 8] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::ACCEPT_ENCODING,
    header::TE,
    header::UPGRADE,
    header::EXPECT,
];

/// Opens URLs over HTTP/1.1, under the policy and the limits that it was made with. Made once per source; requests
/// may run at once in any number.
pub struct HttpOrigin {
    policy: Arc<Policy>,
    timeouts: Timeouts,
    min_throughput: Option<MinThroughput>,
    transient: Vec<u16>,
    headers: HeaderMap,
    credentials: Credentials,
    connector: Connector,
    pool: Arc<Pool>,
}

impl HttpOrigin {
    /// An origin; reads the system's certificate authorities, and opens nothing yet.
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        let tls = TlsConnector::from(tls::config(&settings.extra_roots, !settings.policy.allow_http)?);
        let agent =
            HeaderValue::from_str(&settings.user_agent).map_err(|_| SetupError::UserAgent(settings.user_agent.clone()))?;
        let policy = Arc::new(settings.policy);
        let credentials = Credentials::new(&settings.credentials)?;
        Ok(HttpOrigin {
            timeouts: settings.timeouts,
            min_throughput: settings.min_throughput,
            transient: settings.transient_statuses,
            headers: own_headers(agent),
            credentials,
            connector: Connector { policy: Arc::clone(&policy), resolver: settings.resolver, tls, buffer: settings.buffer },
            pool: Arc::new(Pool::new(settings.per_host, settings.max_idle, settings.idle_connection)),
            policy,
        })
    }

    /// Asks a URL that the policy allows.
    pub(crate) async fn ask(&self, url: &str, asked: Asked) -> Result<Opened, Failure> {
        let url = self.policy.check_url(url)?.url;
        self.follow(url, asked).await
    }

    /// Follows redirects until there is a file or a failure.
    async fn follow(&self, mut url: Url, mut asked: Asked) -> Result<Opened, Failure> {
        let first_scheme = url.scheme().to_owned();
        let mut clocks = Clocks::start(self.timeouts, self.min_throughput);
        let mut hops = 0;
        loop {
            without_userinfo(&mut url);
            let credentials = self.credentials.of(&first_scheme, &url);
            let answer = self.exchange(&url, &asked, credentials, &mut clocks).await.map_err(|failure| at_hop(hops, failure))?;
            let status = answer.response.status();
            match meaning(status, answer.response.headers(), asked.headers.contains_key(header::RANGE), &self.transient) {
                Meaning::File => return self.opened(answer, clocks),
                Meaning::Refused(failure) => {
                    answer.discard().await;
                    return Err(failure);
                }
                Meaning::Elsewhere(location) => {
                    // The slot goes back before the next one is awaited: two hosts that redirect to each other
                    // must not wait for each other.
                    answer.discard().await;
                    hops += 1;
                    let next = self.redirected(&url, &location, hops).map_err(|f| f.with_status(status.as_u16()))?;
                    if next.origin() != url.origin() {
                        asked.headers.clear();
                    }
                    url = next;
                }
            }
        }
    }

    /// Where a redirect leads, if the policy allows.
    fn redirected(&self, from: &Url, location: &str, hops: u32) -> Result<Url, Failure> {
        if hops > self.policy.max_redirects {
            let message = format!("more than {} redirects", self.policy.max_redirects);
            return Err(Failure::new(Class::Rejected, Reason::Redirect, message));
        }
        if location.chars().any(char::is_control) {
            return Err(Failure::new(
                Class::Rejected,
                Reason::Redirect,
                "the target of the redirect contains a control character",
            ));
        }
        let next = from.join(location.trim()).map_err(|error| {
            Failure::new(Class::Rejected, Reason::Redirect, format!("the target of the redirect does not parse: {error}"))
        })?;
        let checked = self.policy.check_url(next.as_str()).map_err(|failure| at_hop(hops, failure))?;
        if !self.policy.allow_cross_host_redirects && checked.url.host() != from.host() {
            let message = "the redirect leads to another host, which allow_cross_host_redirects forbids";
            return Err(Failure::new(Class::Rejected, Reason::Redirect, message));
        }
        Ok(checked.url)
    }

    /// One request and the head of its answer. A connection that was kept may have been closed by the host just
    /// when the request went out; such a request is sent once more, on a new connection.
    async fn exchange(
        &self,
        url: &Url,
        asked: &Asked,
        credentials: Option<&HeaderMap>,
        clocks: &mut Clocks,
    ) -> Result<Answer, Failure> {
        clocks.total_left()?;
        let slot = self.pool.slot(url).await?;
        clocks.skip();
        let headers = self.headers_for(&slot, &asked.headers, credentials);
        let request = Prepared { method: asked.method.clone(), target: target(url)?, headers, body: asked.body.clone() };
        if let Some(sender) = self.kept(&slot).await {
            match self.send(sender, &request, url, clocks).await? {
                Sent::Answered(sender, response) => return Ok(Answer { response, lease: Lease { slot, sender } }),
                Sent::Closed(_) => tracing::trace!("a kept connection was closed; the request is sent again"),
            }
        }
        let sender = self.connect(url, clocks).await?;
        match self.send(sender, &request, url, clocks).await? {
            Sent::Answered(sender, response) => Ok(Answer { response, lease: Lease { slot, sender } }),
            Sent::Closed(failure) => Err(failure),
        }
    }

    /// An idle connection that takes a request.
    async fn kept(&self, slot: &Slot) -> Option<Sender> {
        while let Some(mut sender) = self.pool.idle(&slot.host) {
            // Its task may still have to notice the end of the last body, or that the host has closed it.
            if matches!(timeout(DRAIN_TIME, sender.ready()).await, Ok(Ok(()))) {
                return Some(sender);
            }
        }
        None
    }

    async fn connect(&self, url: &Url, clocks: &mut Clocks) -> Result<Sender, Failure> {
        let limit = self.timeouts.connect;
        within(clocks, self.connector.connect(url, limit)).await?
    }

    async fn send(&self, mut sender: Sender, request: &Prepared, url: &Url, clocks: &mut Clocks) -> Result<Sent, Failure> {
        let left = clocks.total_left()?;
        let limit = self.timeouts.first_byte.min(left);
        match timeout(limit, sender.send_request(request.build())).await {
            Ok(Ok(response)) => Ok(Sent::Answered(sender, response)),
            Ok(Err(error)) if closed(&error) => Ok(Sent::Closed(no_answer(url, &error))),
            Ok(Err(error)) => Err(no_answer(url, &error)),
            Err(_) if limit < self.timeouts.first_byte => Err(clocks.total_failure()),
            Err(_) => {
                let message = format!("{} did not answer within {} ms", host_of(url), limit.as_millis());
                Err(Failure::new(Class::Transient, Reason::FirstByteTimeout, message))
            }
        }
    }

    fn headers_for(&self, slot: &Slot, own: &HeaderMap, credentials: Option<&HeaderMap>) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(header::HOST, slot.host.authority.clone());
        for (name, value) in own.iter().chain(credentials.into_iter().flatten()) {
            headers.insert(name.clone(), value.clone());
        }
        headers
    }

    fn opened(&self, answer: Answer, mut clocks: Clocks) -> Result<Opened, Failure> {
        clocks.total_left()?;
        let Answer { response, lease } = answer;
        let (head, incoming) = response.into_parts();
        let content_length = content_length(&head.headers);
        let bounds = Bounds { declared: content_length, max_size: self.policy.max_size };
        let status = head.status.as_u16();
        let body = HttpBody::new(incoming, lease, clocks, bounds).map_err(|failure| failure.with_status(status))?;
        Ok(Opened {
            status,
            content_type: text(&head.headers, &header::CONTENT_TYPE),
            content_length,
            etag: text(&head.headers, &header::ETAG),
            body: Box::new(body),
        })
    }
}

#[async_trait]
impl Origin for HttpOrigin {
    async fn open(&self, request: Request) -> Result<Opened, Failure> {
        // First, so that a URL that is not allowed is told as such whatever its headers are.
        let url = self.policy.check_url(&request.url)?.url;
        let headers = caller_headers(&request.headers)?;
        self.follow(url, Asked { method: Method::GET, headers, body: Bytes::new() }).await
    }
}

/// What is asked of a URL. The headers stay with its host; a body is sent nowhere else either, since what has one
/// follows no redirect.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An answer whose body has not been touched.
struct Answer {
    response: Response<Incoming>,
    lease: Lease,
}

impl Answer {
    /// Reads a short rest, so that the connection can be kept; a long or slow one closes it.
    async fn discard(self) {
        let Answer { response, lease } = self;
        let mut body = response.into_body();
        if matches!(timeout(DRAIN_TIME, drained(&mut body)).await, Ok(true)) {
            lease.release();
        }
    }
}

/// Whether the body ended within the bound.
async fn drained(body: &mut Incoming) -> bool {
    let mut left = DRAIN_BYTES;
    while let Some(frame) = body.frame().await {
        let bytes = frame.ok().map(|frame| frame.data_ref().map_or(0, Bytes::len));
        match bytes.and_then(|bytes| left.checked_sub(bytes)) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}

/// What became of a request.
enum Sent {
    Answered(Sender, Response<Incoming>),
    /// The connection ended without an answer.
    Closed(Failure),
}

/// A request that can be sent more than once.
struct Prepared {
    method: Method,
    target: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Prepared {
    fn build(&self) -> hyper::Request<Full<Bytes>> {
        let mut request = hyper::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// Runs a future under what is left of the total.
async fn within<T>(clocks: &mut Clocks, future: impl Future<Output = T>) -> Result<T, Failure> {
    let left = clocks.total_left()?;
    match timeout(left, future).await {
        Ok(value) => Ok(value),
        Err(_) => Err(clocks.total_failure()),
    }
}

/// The headers of every request. Only the file as it is can be stored, so no other encoding is accepted.
fn own_headers(agent: HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::USER_AGENT, agent);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

/// The headers that the caller asks for. A name of ours or a value that cannot be sent is a failure, since sending
/// the request without it would fetch something else.
fn caller_headers(headers: &[(String, String)]) -> Result<HeaderMap, Failure> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let shown: String = name.chars().take(60).collect();
        let refused =
            |why: &str| Failure::new(Class::Permanent, Reason::Protocol, format!("the header {shown:?} of the event {why}"));
        let name = HeaderName::try_from(name.as_str()).map_err(|_| refused("has no valid name"))?;
        let value = HeaderValue::try_from(value.as_str()).map_err(|_| refused("has a value that cannot be sent"))?;
        if OWN_HEADERS.contains(&name) {
            return Err(refused("is set by longshore alone"));
        }
        map.insert(name, value);
    }
    Ok(map)
}

/// Path and query, as the request line has them.
fn target(url: &Url) -> Result<Uri, Failure> {
    url[Position::BeforePath..Position::AfterQuery]
        .parse()
        .map_err(|error| Failure::new(Class::Rejected, Reason::InvalidUrl, format!("the URL cannot be asked for: {error}")))
}

/// Userinfo is never sent, and the pool's keys must not carry it.
fn without_userinfo(url: &mut Url) {
    if !url.username().is_empty() || url.password().is_some() {
        // Both fail only for URLs without a host, which have no userinfo.
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// A refusal met after a redirect is the redirect's.
fn at_hop(hops: u32, failure: Failure) -> Failure {
    if hops == 0 || failure.class != Class::Rejected {
        return failure;
    }
    Failure { reason: Reason::Redirect, message: format!("redirect {hops} is forbidden: {}", failure.message), ..failure }
}

/// Whether the connection ended before any of the answer came.
fn closed(error: &hyper::Error) -> bool {
    let broken = error.source().is_some_and(|cause| cause.downcast_ref::<std::io::Error>().is_some());
    error.is_incomplete_message() || error.is_canceled() || error.is_closed() || broken
}

fn no_answer(url: &Url, error: &hyper::Error) -> Failure {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    let message = format!("no HTTP answer from {}: {error}{cause}", host_of(url));
    Failure::new(Class::Transient, Reason::Protocol, message)
}
