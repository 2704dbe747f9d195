//! Outcome classes: what became of an attempt, named by what happens next.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What happens next with a task, once an attempt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The object is in the store: a result, then a row in `attachments`. Terminal.
    Stored,
    /// May succeed later: the next retry tier, or the dead letters when the ladder is used up.
    Transient,
    /// The host asked us to wait: a retry tier without spending an attempt, within bounds.
    Throttled,
    /// Will not succeed: a dead letter. Terminal until replayed.
    Permanent,
    /// Our own policy forbids the URL: a dead letter, and the host is never contacted. Terminal until replayed.
    Rejected,
    /// The event cannot be decoded: a dead letter with the original bytes, and no row.
    Poison,
}

impl Class {
    /// The name used in tables, metrics, logs and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Stored => "stored",
            Class::Transient => "transient",
            Class::Throttled => "throttled",
            Class::Permanent => "permanent",
            Class::Rejected => "rejected",
            Class::Poison => "poison",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The cause of a failure, from a closed list: it may become a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The URL does not parse or has no host.
    InvalidUrl,
    /// The URL's scheme is not allowed.
    Scheme,
    /// The URL's host is not on the list of allowed hosts.
    Host,
    /// The URL's port is not allowed.
    Port,
    /// The address is private, local or reserved, and no network in the policy names it.
    ForbiddenAddress,
    /// The file's extension, declared type or content is not on the list of allowed types.
    FileType,
    /// The body is larger than the policy allows.
    TooLarge,
    /// A redirect leads to a place that the policy forbids, or there are too many.
    Redirect,
    /// The host's name does not resolve.
    Dns,
    /// The connection was refused, reset or never came about.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The connection took too long.
    ConnectTimeout,
    /// The first byte of the answer took too long.
    FirstByteTimeout,
    /// No byte arrived for too long.
    IdleTimeout,
    /// The whole transfer took too long.
    TotalTimeout,
    /// The body arrived more slowly than the least rate allowed.
    TooSlow,
    /// The answer's status is not a success.
    HttpStatus,
    /// The host answered 429, or with `Retry-After`.
    HostThrottled,
    /// The body is shorter or longer than declared.
    WrongLength,
    /// The connection broke, or what arrived is not HTTP.
    Protocol,
    /// The answer carries an encoding that was not asked for.
    Encoding,
    /// The URL's signature has expired.
    Expired,
    /// The bytes are not those that the event promised.
    Checksum,
    /// An endpoint of ours did not give what was asked of it: a new URL, or what an event lacks.
    Lookup,
    /// The event cannot be decoded.
    Undecodable,
    /// No source takes the event.
    Unrouted,
    /// The task held up others for too long and was moved behind them.
    HeadOfLine,
    /// A fault of our own, worth a report.
    Internal,
}

impl Reason {
    /// The name used in tables, metrics, logs and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::InvalidUrl => "invalid_url",
            Reason::Scheme => "scheme",
            Reason::Host => "host",
            Reason::Port => "port",
            Reason::ForbiddenAddress => "forbidden_address",
            Reason::FileType => "file_type",
            Reason::TooLarge => "too_large",
            Reason::Redirect => "redirect",
            Reason::Dns => "dns",
            Reason::Connect => "connect",
            Reason::Tls => "tls",
            Reason::ConnectTimeout => "connect_timeout",
            Reason::FirstByteTimeout => "first_byte_timeout",
            Reason::IdleTimeout => "idle_timeout",
            Reason::TotalTimeout => "total_timeout",
            Reason::TooSlow => "too_slow",
            Reason::HttpStatus => "http_status",
            Reason::HostThrottled => "host_throttled",
            Reason::WrongLength => "wrong_length",
            Reason::Protocol => "protocol",
            Reason::Encoding => "encoding",
            Reason::Expired => "expired",
            Reason::Checksum => "checksum",
            Reason::Lookup => "lookup",
            Reason::Undecodable => "undecodable",
            Reason::Unrouted => "unrouted",
            Reason::HeadOfLine => "head_of_line",
            Reason::Internal => "internal",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an attempt did not end with a stored object. The message carries no secret: URLs in it are redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happens next. Never [`Class::Stored`].
    pub class: Class,
    /// The cause.
    pub reason: Reason,
    /// One sentence for people.
    pub message: String,
    /// The status of the HTTP answer, if there was one.
    pub http_status: Option<u16>,
    /// How long the host asked us to wait (RFC 9110 §10.2.3), uncapped.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without an HTTP status.
    pub fn new(class: Class, reason: Reason, message: impl Into<String>) -> Self {
        Failure { class, reason, message: message.into(), http_status: None, retry_after: None }
    }

    /// The same failure with the status of the answer that caused it.
    pub fn with_status(mut self, status: u16) -> Self {
        self.http_status = Some(status);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.class, self.reason, self.message)
    }
}

impl std::error::Error for Failure {}
