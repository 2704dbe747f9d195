//! The ports `Origin` and `Lookup` on HTTP/1.1.
//!
//! *Owns*: what a request looks like, the address check at dial time (promise 6), redirects, the fixed cap of
//! transfers per host (promise 7), connections and their reuse, every timeout, and the translation of whatever
//! happens into an outcome class. *Does not own*: what is allowed (`longshore_core::policy`), when to try again
//! (`longshore_core::retry`), the byte budget (the download stage simply does not ask for the next piece).
//!
//! ```text
//! open ─▶ check URL ─▶ slot of the host ─▶ idle connection, or resolve ─▶ judge addresses ─▶ dial ─▶ TLS
//!            ▲                                                     │
//!            └──────────── redirect: slot given back ◀── answer ◀──┘──▶ body: holds slot and connection to its end
//! ```
//!
//! Bounds: per host [`Settings::per_host`] slots with a fair queue; [`Settings::max_idle`] idle connections in all;
//! 4,096 hosts remembered beyond those in use; [`Settings::buffer`] bytes per connection, which also bound an answer's head.
//! No proxy is ever taken from the environment, and no URL reaches a message unredacted.

mod answer;
mod body;
mod connect;
mod credentials;
mod http;
mod lookup;
mod pool;
mod resolve;
mod settings;
mod tls;

pub use http::HttpOrigin;
pub use lookup::{HttpLookup, LookupSettings, MAX_ANSWER_BYTES};
pub use resolve::{Resolve, SystemResolver};
pub use settings::{BUFFER_BYTES, MinThroughput, Settings, Timeouts};
pub use tls::SetupError;
