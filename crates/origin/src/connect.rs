//! Opening a connection: resolve, judge, dial, TLS.
//!
//! Promise 6 is kept here: what is dialled is an address that was judged a moment before, never a name.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use longshore_core::outcome::{Class, Failure, Reason};
use longshore_core::policy::{Policy, url::forbidden};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::resolve::Resolve;
use crate::settings::BUFFER_BYTES;

/// A connection that takes requests.
pub(crate) type Sender = http1::SendRequest<Full<Bytes>>;

/// Opens connections that the policy allows.
pub(crate) struct Connector {
    pub(crate) policy: Arc<Policy>,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) tls: TlsConnector,
    /// The buffer of a connection, in bytes.
    pub(crate) buffer: usize,
}

impl Connector {
    /// Connects to the host of a checked URL within `limit`.
    pub(crate) async fn connect(&self, url: &Url, limit: Duration) -> Result<Sender, Failure> {
        let deadline = Instant::now() + limit;
        match timeout_at(deadline, self.connect_by(url, deadline)).await {
            Ok(result) => result,
            Err(_) => Err(too_late(url, limit)),
        }
    }

    async fn connect_by(&self, url: &Url, deadline: Instant) -> Result<Sender, Failure> {
        let host = url.host().ok_or_else(|| Failure::new(Class::Rejected, Reason::InvalidUrl, "the URL has no host"))?;
        let port = url.port_or_known_default().unwrap_or_default();
        let addresses = self.allowed(&self.addresses(&host).await?)?;
        let tcp = dial(&addresses, port, deadline).await.map_err(|error| not_connected(url, &error))?;
        tcp.set_nodelay(true).map_err(|error| not_connected(url, &error))?;
        if url.scheme() == "https" {
            let name = server_name(&host).map_err(|error| tls_failure(url, &io::Error::other(error)))?;
            let stream = self.tls.connect(name, tcp).await.map_err(|error| tls_failure(url, &error))?;
            handshake(TokioIo::new(stream), self.buffer).await
        } else {
            handshake(TokioIo::new(tcp), self.buffer).await
        }
    }

    async fn addresses(&self, host: &Host<&str>) -> Result<Vec<IpAddr>, Failure> {
        let name = match host {
            Host::Ipv4(v4) => return Ok(vec![IpAddr::V4(*v4)]),
            Host::Ipv6(v6) => return Ok(vec![IpAddr::V6(*v6)]),
            Host::Domain(name) => name,
        };
        let failure =
            |cause: String| Failure::new(Class::Transient, Reason::Dns, format!("the host {name} does not resolve: {cause}"));
        match self.resolver.resolve(name).await {
            Ok(addresses) if addresses.is_empty() => Err(failure("it has no address".to_string())),
            Ok(addresses) => Ok(addresses),
            Err(error) => Err(failure(error.to_string())),
        }
    }

    /// The addresses that may be dialled; a failure if there is none.
    fn allowed(&self, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, Failure> {
        let mut allowed = Vec::with_capacity(addresses.len());
        let mut refusal = None;
        for address in addresses {
            let ruling = self.policy.judge_address(*address);
            if ruling.allowed {
                allowed.push(*address);
            } else {
                refusal.get_or_insert_with(|| forbidden(*address, &ruling));
            }
        }
        match refusal {
            Some(refusal) if allowed.is_empty() => Err(refusal),
            _ => Ok(allowed),
        }
    }
}

/// Dials the addresses in turn. Each gets an equal share of the time left, so that one that never answers does not
/// use up the time of the next.
async fn dial(addresses: &[IpAddr], port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (tried, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / others;
        match timeout(share, TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// The name that the certificate must bear; a trailing dot is no part of it (RFC 6066 §3).
fn server_name(host: &Host<&str>) -> Result<ServerName<'static>, rustls::pki_types::InvalidDnsNameError> {
    match host {
        Host::Ipv4(v4) => Ok(ServerName::from(IpAddr::V4(*v4))),
        Host::Ipv6(v6) => Ok(ServerName::from(IpAddr::V6(*v6))),
        Host::Domain(name) => ServerName::try_from(name.strip_suffix('.').unwrap_or(name).to_string()),
    }
}

/// Starts HTTP on a connection. Its task ends with the connection: when the peer closes it or the sender is dropped.
async fn handshake<T: Read + Write + Unpin + Send + 'static>(io: T, buffer: usize) -> Result<Sender, Failure> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(buffer.max(BUFFER_BYTES))
        .handshake(io)
        .await
        .map_err(|error| Failure::new(Class::Transient, Reason::Protocol, format!("HTTP could not be started: {error}")))?;
    // What goes wrong is told to whoever waits for an answer.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn too_late(url: &Url, limit: Duration) -> Failure {
    let message = format!("no connection to {} within {} ms", host_of(url), limit.as_millis());
    Failure::new(Class::Transient, Reason::ConnectTimeout, message)
}

fn not_connected(url: &Url, error: &io::Error) -> Failure {
    let reason = if error.kind() == io::ErrorKind::TimedOut { Reason::ConnectTimeout } else { Reason::Connect };
    Failure::new(Class::Transient, reason, format!("no connection to {}: {error}", host_of(url)))
}

/// A certificate that does not verify stays so until a person acts, and trying again would only hide it: permanent.
/// Any other failure of the handshake may be the network's: transient.
fn tls_failure(url: &Url, error: &io::Error) -> Failure {
    let certificate = matches!(
        error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()),
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
    );
    let class = if certificate { Class::Permanent } else { Class::Transient };
    Failure::new(class, Reason::Tls, format!("no TLS with {}: {error}", host_of(url)))
}

/// The host and port of a URL, for messages.
pub(crate) fn host_of(url: &Url) -> &str {
    &url[url::Position::BeforeHost..url::Position::AfterPort]
}
