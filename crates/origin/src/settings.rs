//! What an origin is made with.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::policy::{HostPattern, Policy};
use longshore_core::secret::Secret;
use rustls::pki_types::CertificateDer;

use crate::resolve::{Resolve, SystemResolver};

/// The least that a connection may read ahead, in bytes.
pub const BUFFER_BYTES: usize = 64 << 10;

/// The limits and habits of an [`HttpOrigin`](crate::HttpOrigin).
#[derive(Clone)]
pub struct Settings {
    /// What may be fetched.
    pub policy: Policy,
    /// How long the parts of a transfer may take.
    pub timeouts: Timeouts,
    /// The least rate of a body; none when nothing.
    pub min_throughput: Option<MinThroughput>,
    /// The most transfers at once per scheme, host and port, from the request to the end of the body; at least 1.
    /// Further ones wait in the order in which they came, and no clock runs meanwhile.
    pub per_host: usize,
    /// The most idle connections kept, over all hosts.
    pub max_idle: usize,
    /// The most that a connection reads ahead, in bytes: it bounds a piece of the body, and the head of an answer; at least
    /// [`BUFFER_BYTES`]. A larger one takes fewer turns for a body.
    pub buffer: usize,
    /// How long an idle connection is kept.
    pub idle_connection: Duration,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// Statuses that are worth another attempt. 429 is `throttled` whether it is listed or not.
    pub transient_statuses: Vec<u16>,
    /// Headers for certain hosts: each hop, the first as any redirect's, gets those of the first pattern that means the
    /// host really asked, in the place of equal names from elsewhere. They go over TLS; over plain HTTP only where the
    /// policy allows that and the request began so.
    pub credentials: Vec<(HostPattern, Vec<(String, Secret)>)>,
    /// Turns names into addresses.
    pub resolver: Arc<dyn Resolve>,
    /// Certificate authorities trusted besides those of the system (which `SSL_CERT_FILE` and `SSL_CERT_DIR` replace).
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            policy: Policy::default(),
            timeouts: Timeouts::default(),
            min_throughput: Some(MinThroughput::default()),
            per_host: 64,
            max_idle: 256,
            buffer: BUFFER_BYTES,
            idle_connection: Duration::from_secs(30),
            user_agent: concat!("longshore/", env!("CARGO_PKG_VERSION")).to_string(),
            transient_statuses: vec![408, 429, 500, 502, 503, 504],
            credentials: Vec::new(),
            resolver: Arc::new(SystemResolver),
            extra_roots: Vec::new(),
        }
    }
}

/// How long the parts of a transfer may take. Waiting for a slot of the host counts nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Resolving, dialling and the TLS handshake together, once per hop.
    pub connect: Duration,
    /// From the request to the head of the answer, once per hop.
    pub first_byte: Duration,
    /// Waiting for the next bytes of the body; it runs only while the reader asks for them.
    pub idle: Duration,
    /// The whole transfer with its redirects. While a body is read, a pause of the reader of 250 ms or more between
    /// two pieces does not count; shorter ones do, so that an endless body ends whatever its reader does.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Timeouts { connect: seconds(5), first_byte: seconds(30), idle: seconds(30), total: seconds(30 * 60) }
    }
}

/// The least rate of a body, judged over whole windows of time spent waiting for the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinThroughput {
    /// The least average over a window.
    pub bytes_per_second: u64,
    /// The window. Bodies younger than one are not judged.
    pub window: Duration,
}

impl Default for MinThroughput {
    fn default() -> Self {
        MinThroughput { bytes_per_second: 1024, window: Duration::from_secs(30) }
    }
}
