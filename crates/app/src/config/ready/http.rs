//! The service's own HTTP server: who may ask it.

use std::net::SocketAddr;
use std::time::Duration;

use longshore_core::secret::Secret;

use crate::config::problem::Findings;
use crate::config::typed::Section;

/// The shortest token that is not warned about, in characters.
const TOKEN_CHARS: usize = 16;

/// Settings of the HTTP server.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What callers must show, if anything.
    pub token: Option<Secret>,
    /// The largest body of a request, in bytes.
    pub max_body: usize,
    /// How many events may wait in the log before senders are told to come later.
    pub max_backlog: u64,
    /// How long work may wait without anything being completed before the service counts as not ready.
    pub stalled_after: Duration,
}

pub(super) fn read(top: &Section, found: &mut Findings) -> Option<Http> {
    let section = top.section("http")?;
    let spot = section.text("listen")?;
    let token = section.text("token");
    let parsed = spot.text.trim().parse::<SocketAddr>().map_err(|_| {
        format!(
            "'{}' is not an address with a port; write for example 127.0.0.1:9464, or 0.0.0.0:9464 for all networks",
            spot.shown
        )
    });
    let listen = found.keep(&spot.at, &section.path_of("listen"), parsed);
    if let Some(spot) = token {
        check_token(section, &spot.text, found);
    }
    let listen = listen?;
    if !listen.ip().is_loopback() && token.is_none() {
        let message = format!(
            "{listen} can be reached from other machines, and nothing says who may ask; set http.token to ${{env:NAME}}, or listen on 127.0.0.1:{}",
            listen.port()
        );
        found.error(&spot.at, section.path_of("listen"), message);
    }
    Some(Http {
        listen,
        token: token.map(|spot| Secret::new(spot.text.clone())),
        max_body: section.count("max_body"),
        max_backlog: section.number("max_backlog").unwrap_or_default(),
        stalled_after: section.time("stalled_after"),
    })
}

fn check_token(section: &Section, token: &str, found: &mut Findings) {
    let (at, path) = (section.at("token"), section.path_of("token"));
    if !token.chars().all(|c| c.is_ascii_graphic()) {
        found.error(at, path, "the token holds white space or characters beyond ASCII; take letters and digits");
    } else if token.chars().count() < TOKEN_CHARS {
        found.warn(at, path, format!("the token is shorter than {TOKEN_CHARS} characters; take a longer one, drawn by chance"));
    }
}
