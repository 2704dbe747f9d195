//! A small HTTP/1.1 client for the service of the same configuration: one connection, one request at a time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use longshore_core::secret::Secret;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::config::Http;

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest answer.
const ANSWER_BYTES: usize = 1 << 20;
/// The longest that a `Retry-After` is followed.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A client of the service.
pub(crate) struct Client {
    address: SocketAddr,
    token: Option<Secret>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// What the service answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// How long to wait before the next try, where the service said so.
    pub(crate) retry_after: Option<Duration>,
    /// The JSON of the body; null where it is none.
    pub(crate) body: Value,
}

impl Answer {
    /// What the service said is wrong, and what to do.
    pub(crate) fn refusal(&self) -> String {
        let text = |name: &str| self.body[name].as_str().unwrap_or_default().to_owned();
        match (text("error"), text("remedy")) {
            (error, remedy) if error.is_empty() && remedy.is_empty() => format!("the service answered {}", self.status),
            (error, remedy) => crate::render::harmless(&format!("{error}: {remedy}")),
        }
    }
}

impl Client {
    /// A client of the service that listens as configured; nothing is dialled yet.
    pub(crate) fn new(http: &Http) -> Self {
        Client { address: reachable(http.listen), token: http.token.clone(), connection: None }
    }

    /// Where the service is asked.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Posts a body. An error leaves open whether the service has acted on it.
    pub(crate) async fn post(&mut self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer> {
        let request = self.request(path, headers, body)?;
        let mut connection = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let asking = async {
            connection.ready().await?;
            let response = connection.send_request(request).await?;
            anyhow::Ok(response.into_parts())
        };
        let answered = async {
            let (head, body) = asking.await?;
            let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(|error| anyhow!(error))?;
            let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
            anyhow::Ok(Answer { status: head.status, retry_after: retry_after(&head.headers), body })
        };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, answered).await;
        let broken = || format!("the service at http://{} did not answer", self.address);
        let answer =
            answer.map_err(|_| anyhow!("nothing came within {} s", ANSWER_TIMEOUT.as_secs())).flatten().with_context(broken)?;
        self.connection = Some(connection);
        Ok(answer)
    }

    fn request(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::post(path).header(header::HOST, self.address.to_string());
        if let Some(token) = &self.token {
            let mut value = header::HeaderValue::from_str(&format!("Bearer {}", token.expose())).context("http.token")?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        for (name, value) in headers {
            request = request.header(*name, header::HeaderValue::from_bytes(value.as_bytes()).context("a header's value")?);
        }
        Ok(request.body(Full::new(body))?)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let dialling = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await;
        let refused = || format!("nobody answers at http://{} (http.listen)", self.address);
        let stream = dialling.map_err(|_| anyhow!("timed out")).and_then(|dialled| Ok(dialled?)).with_context(refused)?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = handshake(TokioIo::new(stream)).await.with_context(refused)?;
        // Its errors come to whoever waits for the answer.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

/// A server that listens on all addresses is reached on the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_reached_on_this_machine() {
        for (listen, reached) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("10.0.0.1:3", "10.0.0.1:3")] {
            assert_eq!(reachable(listen.parse().expect("address")).to_string(), reached);
        }
    }

    #[test]
    fn a_wait_is_followed_within_bounds() {
        let of = |value: &'static str| {
            retry_after(&[(header::RETRY_AFTER, header::HeaderValue::from_static(value))].into_iter().collect())
        };
        assert_eq!(of("2"), Some(Duration::from_secs(2)));
        assert_eq!(of("86400"), Some(LONGEST_WAIT));
        assert_eq!(of("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
