//! The socket: connections within their bounds, each served until it ends or the server stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::events::Remote;
use super::{Service, router};

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 256;
/// The longest that the head of a request may take, and that a connection may be without one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// What is read ahead for each connection, at most.
const BUFFER_BYTES: usize = 64 << 10;
/// How long requests under way may go on once the server stops.
const CLOSING: Duration = Duration::from_secs(1);
/// The wait after a connection could not be accepted (no file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The server, listening.
pub(crate) struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens at the configured address.
    pub(crate) async fn start(service: Arc<Service>) -> Result<Self> {
        let listen = service.http.listen;
        let refused = || format!("cannot listen at {listen} (http.listen): stop what has the address, or name another");
        let listener = TcpListener::bind(listen).await.with_context(refused)?;
        let address = listener.local_addr().with_context(refused)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(listener, router(service), stop.clone()));
        Ok(Server { address, stop, task })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections and requests, and lets those under way end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // A panic has been reported by the runtime, and there is nothing left to stop.
        let _ = self.task.await;
    }
}

async fn accept(listener: TcpListener, router: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let next = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, remote)) => {
                let serving = serve(stream, remote, router.clone(), stop.clone());
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, remote: SocketAddr, router: Router, stop: CancellationToken) {
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Remote(remote));
        routes.call(request)
    });
    // Answers are small and wanted now.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // How a connection ends is the other side's matter.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(CLOSING, connection).await;
}
