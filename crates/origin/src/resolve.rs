//! Names to addresses.

use std::io;
use std::net::IpAddr;

use async_trait::async_trait;

/// Turns a host's name into addresses. What it answers is judged before anything is dialled.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// The addresses of a name (lower case, punycode), best first; never asked for literals.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver (`getaddrinfo`), with its own cache and `hosts` file.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}
