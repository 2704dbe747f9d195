//! The port `Lookup` on HTTP: one endpoint, asked over the same guarded connector as files are.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use longshore_core::call::{Call, CallTemplate, Method, check_answer};
use longshore_core::outcome::{Class, Failure, Reason};
use longshore_core::policy::{HostPattern, Policy};
use longshore_core::secret::Secret;
use longshore_stages::ports::{Lookup, Opened};
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use url::Url;

use crate::credentials::sensitive;
use crate::http::{Asked, HttpOrigin, OWN_HEADERS};
use crate::resolve::{Resolve, SystemResolver};
use crate::settings::{Settings, Timeouts};
use crate::tls::SetupError;

/// The largest answer accepted unless said otherwise, in bytes.
pub const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// The limits of a [`HttpLookup`].
#[derive(Clone)]
pub struct LookupSettings {
    /// Whether the endpoint may be asked over `http`.
    pub allow_http: bool,
    /// Networks that may be dialled although their addresses are not public.
    pub allow_private: Vec<IpNet>,
    /// How long the parts of a call may take.
    pub timeouts: Timeouts,
    /// The largest answer accepted, in bytes. An answer is held in memory whole.
    pub max_answer: u64,
    /// The most calls at once; further ones wait, and no clock runs meanwhile.
    pub max_in_flight: usize,
    /// Turns names into addresses.
    pub resolver: Arc<dyn Resolve>,
    /// Certificate authorities trusted besides those of the system.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl Default for LookupSettings {
    fn default() -> Self {
        let total = std::time::Duration::from_secs(30);
        LookupSettings {
            allow_http: false,
            allow_private: Vec::new(),
            timeouts: Timeouts { first_byte: total, total, ..Timeouts::default() },
            max_answer: MAX_ANSWER_BYTES,
            max_in_flight: 16,
            resolver: Arc::new(SystemResolver),
            extra_roots: Vec::new(),
        }
    }
}

/// Asks one endpoint for JSON, nobody else: not by a redirect, and not by a URL of another host. A call may be sent more
/// than once, a `POST` too: when a kept connection breaks, and when its task is tried again.
pub struct HttpLookup {
    origin: HttpOrigin,
    room: Semaphore,
}

impl HttpLookup {
    /// A lookup for the endpoint of this template.
    pub fn new(template: &CallTemplate, settings: LookupSettings) -> Result<Self, SetupError> {
        let calls = settings.max_in_flight.max(1);
        let policy = Policy {
            allow_hosts: Some(own_host(template.endpoint())),
            allow_http: settings.allow_http,
            allow_ports: template.endpoint().port_or_known_default().map(|port| vec![port]),
            allow_private: settings.allow_private,
            max_redirects: 0,
            allow_cross_host_redirects: false,
            max_size: Some(settings.max_answer),
        };
        let origin = HttpOrigin::new(Settings {
            policy,
            timeouts: settings.timeouts,
            per_host: calls,
            max_idle: calls,
            resolver: settings.resolver,
            extra_roots: settings.extra_roots,
            ..Settings::default()
        })?;
        Ok(HttpLookup { origin, room: Semaphore::new(calls) })
    }
}

#[async_trait]
impl Lookup for HttpLookup {
    async fn ask(&self, call: Call) -> Result<Bytes, Failure> {
        // Never closed; without a permit the bound would only be the pool's.
        let _room = self.room.acquire().await;
        let asked = asked(&call)?;
        let opened = self.origin.ask(&call.url, asked).await.map_err(not_followed)?;
        let answer = whole(opened).await?;
        check_answer(&answer)?;
        Ok(answer)
    }
}

fn own_host(endpoint: &Url) -> Vec<HostPattern> {
    endpoint.host().map(|host| HostPattern::Exact(host.to_owned())).into_iter().collect()
}

/// The whole body; its size is bounded by the policy.
async fn whole(mut opened: Opened) -> Result<Bytes, Failure> {
    let mut answer = BytesMut::new();
    while let Some(piece) = opened.body.chunk().await? {
        answer.extend_from_slice(&piece);
    }
    Ok(answer.freeze())
}

fn asked(call: &Call) -> Result<Asked, Failure> {
    let mut headers = HeaderMap::with_capacity(call.headers.len() + 2);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if call.body.is_some() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in &call.headers {
        let (name, value) = header_of(name, value)?;
        headers.insert(name, value);
    }
    let method = match call.method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
    };
    Ok(Asked { method, headers, body: call.body.clone().unwrap_or_default() })
}

fn header_of(name: &str, value: &Secret) -> Result<(HeaderName, HeaderValue), Failure> {
    let valid = HeaderName::try_from(name).ok().filter(|name| !OWN_HEADERS.contains(name));
    valid.zip(sensitive(value)).ok_or_else(|| {
        let shown: String = name.chars().take(60).collect();
        Failure::new(Class::Permanent, Reason::Protocol, format!("the header {shown:?} of the call cannot be sent"))
    })
}

/// A redirect of the endpoint is no file that we must not fetch: it is an answer that is none.
fn not_followed(failure: Failure) -> Failure {
    match failure.reason {
        Reason::Redirect => {
            let message = "the endpoint redirects, and calls follow no redirect: configure the URL that it leads to";
            Failure { class: Class::Permanent, message: message.to_owned(), ..failure }
        }
        _ => failure,
    }
}
