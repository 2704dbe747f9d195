//! Where attachments come from.

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::outcome::Failure;

/// One GET.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The URL as the event gave it.
    pub url: String,
    /// Headers on top of those that the origin sends itself; never forwarded to another host on a redirect.
    pub headers: Vec<(String, String)>,
}

/// An answer whose status is a success, with its body still to be read.
pub struct Opened {
    /// The status, 200 to 299.
    pub status: u16,
    /// `Content-Type`, as sent.
    pub content_type: Option<String>,
    /// `Content-Length`, in bytes.
    pub content_length: Option<u64>,
    /// `ETag`, as sent.
    pub etag: Option<String>,
    /// The body.
    pub body: Box<dyn Body>,
}

/// A body that is being read. Dropping it ends the transfer.
#[async_trait]
pub trait Body: Send {
    /// The next piece, at most 512 KiB: twice what a connection reads at once. Nothing at the end of a complete body. A body
    /// that ends short, is too slow or grows beyond the size allowed is a failure. Safe to cancel.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure>;
}

/// Opens URLs, under the policy and the limits that it was made with.
#[async_trait]
pub trait Origin: Send + Sync {
    /// Sends the request, follows allowed redirects, and returns the answer if it is a success. Anything else is a
    /// failure with its outcome class: a status, a timeout, an address that the policy forbids.
    async fn open(&self, request: Request) -> Result<Opened, Failure>;
}
