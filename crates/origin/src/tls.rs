//! The TLS configuration: which authorities are trusted, on which cryptography.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// Why an origin cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Without authorities no https server can be trusted.
    #[error(
        "no certificate authorities found on this machine{0}; install them (package ca-certificates), or name a PEM file in SSL_CERT_FILE"
    )]
    NoRoots(String),
    /// The cryptography does not fit.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The user agent is no header value.
    #[error("the user agent {0:?} cannot be sent as a header; use printable ASCII")]
    UserAgent(String),
    /// A header for certain hosts is none.
    #[error("the header {name:?} for {host} {why}")]
    Credential {
        /// The pattern of the hosts.
        host: String,
        /// The header's name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Trusts the system's authorities and `extra`. The provider is named here, since the process may link several and
/// then has no default.
pub(crate) fn config(extra: &[CertificateDer<'static>], roots_required: bool) -> Result<Arc<ClientConfig>, SetupError> {
    let roots = roots(extra)?;
    if let Roots { store, problem } = &roots
        && store.is_empty()
    {
        if roots_required {
            return Err(SetupError::NoRoots(problem.clone()));
        }
        tracing::warn!("no certificate authorities found{problem}: every https server will be refused");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots.store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

struct Roots {
    store: RootCertStore,
    /// The first thing that went wrong, for the message.
    problem: String,
}

fn roots(extra: &[CertificateDer<'static>]) -> Result<Roots, SetupError> {
    let native = rustls_native_certs::load_native_certs();
    let problem = native.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(native.certs);
    for root in extra {
        store.add(root.clone())?;
    }
    Ok(Roots { store, problem })
}
