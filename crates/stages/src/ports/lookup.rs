//! Endpoints that are asked about an event or an attachment.

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::call::Call;
use longshore_core::outcome::Failure;

/// Asks one endpoint, under the limits that it was made with: its own host, timeouts, size of an answer, calls at once.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// Makes the call and returns the answer, which is JSON. Anything else is a failure with its outcome class, as for
    /// a download: a status, a timeout, an answer that is too large or no JSON.
    async fn ask(&self, call: Call) -> Result<Bytes, Failure>;
}
