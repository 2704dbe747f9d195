//! Who may ask: whoever shows the token; without one only this machine is listened to, and no web page.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use longshore_core::secret::Secret;
use sha2::{Digest, Sha256};

use super::{Refusal, Service, body};

/// Lets a request through to the routes below `/v1`, or refuses it.
pub(super) async fn check(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    match permitted(service.http.token.as_ref(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            let (head, mut rest) = request.into_parts();
            body::discard(&head.headers, &mut rest).await;
            refusal.into_response()
        }
    }
}

fn permitted(token: Option<&Secret>, headers: &HeaderMap) -> Result<(), Refusal> {
    match token {
        None => no_page(headers),
        Some(token) => {
            let shown = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
            if shown.is_some_and(|shown| equal(shown, token.expose().as_bytes())) {
                return Ok(());
            }
            let (error, remedy) = ("the token is missing or wrong", "send Authorization: Bearer with the token of http.token");
            Err(Refusal::new(StatusCode::UNAUTHORIZED, error, remedy))
        }
    }
}

/// The token of `Bearer TOKEN` (RFC 6750 §2.1; the scheme's name has no case, RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

/// Compares in a time that tells nothing of where they differ, nor of their lengths.
fn equal(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (Sha256::digest(one), Sha256::digest(other));
    one.iter().zip(other.iter()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// Without a token, a page in a browser on this machine could send events: by a form, or under a name that it has
/// made to point here. Both show in the headers that browsers set.
fn no_page(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !headers.contains_key(header::ORIGIN) && is_address(host) {
        return Ok(());
    }
    let remedy = "set http.token and send it, or ask from this machine by its address";
    Err(Refusal::new(StatusCode::FORBIDDEN, "without a token, web pages and other names are not listened to", remedy))
}

fn is_address(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), header::HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_the_whole_token_opens() {
        let token = Secret::new("open-sesame-0123");
        let with = |value| permitted(Some(&token), &headers(&[(header::AUTHORIZATION, value)])).is_ok();
        assert!(with("Bearer open-sesame-0123") && with("bearer  open-sesame-0123"));
        for wrong in
            ["Bearer open-sesame-012", "Bearer open-sesame-01234", "Bearer ", "Basic open-sesame-0123", "open-sesame-0123", ""]
        {
            assert!(!with(wrong), "{wrong}");
        }
        assert!(permitted(Some(&token), &HeaderMap::new()).is_err());
    }

    #[test]
    fn without_a_token_no_web_page_is_listened_to() {
        let with = |pairs| permitted(None, &headers(pairs)).is_ok();
        for host in ["127.0.0.1:9464", "localhost:9464", "[::1]:9464", "localhost", ""] {
            assert!(permitted(None, &[(header::HOST, host.parse().expect("header"))].into_iter().collect()).is_ok(), "{host}");
        }
        assert!(!with(&[(header::HOST, "rebound.example.com:9464")]), "a name that points here");
        assert!(!with(&[(header::HOST, "127.0.0.1:9464"), (header::ORIGIN, "https://example.com")]), "a form");
    }
}
