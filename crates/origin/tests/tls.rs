//! HTTPS: a trusted authority works, an unknown one and a wrong name fail for good.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use longshore_core::outcome::{Class, Reason};
use longshore_core::secret::Secret;
use longshore_origin::HttpOrigin;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use support::*;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn acceptor(&self, name: &str) -> tokio_rustls::TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_string()]).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Arc::new(config).into()
    }
}

fn trusting(roots: Vec<CertificateDer<'static>>) -> HttpOrigin {
    origin(|s| {
        s.extra_roots = roots;
        s.resolver = Arc::new(Names::default().with("files.test", &[&["127.0.0.1"]]).with("other.test", &[&["127.0.0.1"]]));
    })
}

#[tokio::test]
async fn only_a_trusted_certificate_of_the_name_will_do() {
    let authority = Authority::new();
    let server = serve_at("127.0.0.1:0", Some(authority.acceptor("files.test")), |_, _| ok("secret")).await;
    let port = server.address.port();
    let url = format!("https://files.test:{port}/");

    let origin = trusting(vec![authority.root()]);
    for _ in 0..3 {
        assert_eq!(get(&origin, &url).await.unwrap(), b"secret");
    }
    assert_eq!(server.seen.connections(), 1, "TLS connections are used again");

    let unknown = get(&trusting(vec![Authority::new().root()]), &url).await.unwrap_err();
    assert_eq!((unknown.class, unknown.reason), (Class::Permanent, Reason::Tls), "{unknown}");
    let misnamed = get(&origin, &format!("https://other.test:{port}/")).await.unwrap_err();
    assert_eq!((misnamed.class, misnamed.reason), (Class::Permanent, Reason::Tls), "{misnamed}");
    assert_eq!(server.seen.requests().len(), 3);
}

#[tokio::test]
async fn a_server_without_tls_is_transient() {
    let server = serve(|_, _| ok("x")).await;
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = plain.accept().await {
            drop(stream)
        }
    });
    let failure = get(&trusting(Vec::new()), &format!("https://{address}/")).await.unwrap_err();
    assert_eq!((failure.class, failure.reason), (Class::Transient, Reason::Tls), "{failure}");
    assert_eq!(server.seen.connections(), 0);
}

#[tokio::test]
async fn https_leads_to_http_only_where_http_is_allowed() {
    let authority = Authority::new();
    let plain = serve(|_, _| ok("plain")).await;
    let target = plain.url("/");
    let server = serve_at("127.0.0.1:0", Some(authority.acceptor("files.test")), move |_, _| {
        answer("302 Found", &format!("Location: {target}\r\n"), "")
    })
    .await;
    let url = format!("https://files.test:{}/", server.address.port());
    assert_eq!(get(&trusting(vec![authority.root()]), &url).await.unwrap(), b"plain");
    let strict = origin(|s| {
        s.policy.allow_http = false;
        s.extra_roots = vec![authority.root()];
        s.resolver = Arc::new(Names::default().with("files.test", &[&["127.0.0.1"]]));
    });
    let failure = get(&strict, &url).await.unwrap_err();
    assert_eq!((failure.class, failure.reason), (Class::Rejected, Reason::Redirect), "{failure}");
    assert_eq!(plain.seen.connections(), 1);
}

#[tokio::test]
async fn credentials_never_leave_tls_by_a_redirect() {
    let plain = serve(|_, _| ok("content")).await;
    let port = plain.address.port();
    let authority = Authority::new();
    let to_plain = move |_: &str, _| answer("302 Found", &format!("Location: http://files.test:{port}/\r\n"), "");
    let server = serve_at("127.0.0.1:0", Some(authority.acceptor("files.test")), to_plain).await;
    let origin = origin(|s| {
        s.extra_roots = vec![authority.root()];
        s.resolver = Arc::new(Names::default().with("files.test", &[&["127.0.0.1"]]));
        let header = ("Authorization".to_owned(), Secret::new("Bearer 5ec2e7"));
        s.credentials = vec![("files.test".parse().unwrap(), vec![header])];
    });
    let secret = |server: &Server, at: usize| server.seen.requests()[at].contains("5ec2e7");

    assert!(get(&origin, &format!("https://files.test:{}/", server.address.port())).await.is_ok());
    assert!(secret(&server, 0) && !secret(&plain, 0), "sent over TLS, not behind the redirect");
    assert!(get(&origin, &format!("http://files.test:{port}/")).await.is_ok());
    assert!(secret(&plain, 1), "asked over plain HTTP, as allowed, from the beginning");
}
