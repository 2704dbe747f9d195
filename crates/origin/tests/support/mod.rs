//! A scripted HTTP server on a loopback address, and what the tests need around it.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use longshore_core::outcome::Failure;
use longshore_core::policy::Policy;
use longshore_origin::{HttpOrigin, Resolve, Settings, Timeouts};
use longshore_stages::ports::{Opened, Origin, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with a request, one after the other.
#[derive(Clone)]
pub enum Step {
    Send(Vec<u8>),
    Sleep(u64),
    /// Sends pieces of this many bytes with this pause (ms) until the client leaves.
    Forever(usize, u64),
    /// Closes the connection.
    Close,
    /// Closes the connection with a reset.
    Reset,
}

pub fn send(text: impl Into<Vec<u8>>) -> Step {
    Step::Send(text.into())
}

/// A complete answer.
pub fn answer(status: &str, headers: &str, body: &str) -> Vec<Step> {
    vec![send(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()))]
}

pub fn ok(body: &str) -> Vec<Step> {
    answer("200 OK", "", body)
}

/// What the server has seen.
#[derive(Default)]
pub struct Seen {
    pub connections: AtomicUsize,
    pub now: AtomicUsize,
    pub most: AtomicUsize,
    pub requests: Mutex<Vec<String>>,
}

impl Seen {
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn enter(&self, head: &str) -> usize {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let mut requests = self.requests.lock().unwrap();
        requests.push(head.to_string());
        requests.len()
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
}

impl Server {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Gets the request's head and its number on this server, from 1.
type Script = Arc<dyn Fn(&str, usize) -> Vec<Step> + Send + Sync>;

pub async fn serve(script: impl Fn(&str, usize) -> Vec<Step> + Send + Sync + 'static) -> Server {
    serve_at("127.0.0.1:0", None, script).await
}

pub async fn serve_at(
    address: &str,
    tls: Option<tokio_rustls::TlsAcceptor>,
    script: impl Fn(&str, usize) -> Vec<Step> + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let (script, shared): (Script, _) = (Arc::new(script), Arc::clone(&seen));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            let (script, seen, tls) = (Arc::clone(&script), Arc::clone(&shared), tls.clone());
            tokio::spawn(async move {
                let _ = match tls {
                    Some(tls) => match tls.accept(tcp).await {
                        Ok(stream) => talk(stream, &script, &seen, |_| {}).await,
                        Err(error) => Err(error),
                    },
                    None => talk(tcp, &script, &seen, reset).await,
                };
            });
        }
    });
    Server { address, seen }
}

#[allow(deprecated)]
fn reset(tcp: &TcpStream) {
    tcp.set_linger(Some(Duration::ZERO)).unwrap();
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(mut io: S, script: &Script, seen: &Seen, reset: impl Fn(&S)) -> io::Result<()> {
    while let Some(head) = head(&mut io).await? {
        let number = seen.enter(&head);
        let done = perform(&mut io, script(&head, number), &reset).await;
        seen.now.fetch_sub(1, Ordering::SeqCst);
        if !done? {
            break;
        }
    }
    Ok(())
}

/// The request's head, and its body behind it.
async fn head(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if io.read(&mut byte).await? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    io.read_exact(&mut body).await?;
    Ok(Some(head + &String::from_utf8(body).unwrap()))
}

/// Whether the connection goes on.
async fn perform<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S, steps: Vec<Step>, reset: &impl Fn(&S)) -> io::Result<bool> {
    for step in steps {
        match step {
            Step::Send(bytes) => io.write_all(&bytes).await?,
            Step::Sleep(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Step::Forever(bytes, pause) => loop {
                io.write_all(&vec![b'x'; bytes]).await?;
                tokio::time::sleep(Duration::from_millis(pause)).await;
            },
            Step::Close => {
                io.shutdown().await?;
                return Ok(false);
            }
            Step::Reset => {
                reset(io);
                return Ok(false);
            }
        }
        io.flush().await?;
    }
    Ok(true)
}

/// Names with the answers of each time they are asked; the last answer stays.
#[derive(Default)]
pub struct Names(Mutex<HashMap<String, Vec<Vec<IpAddr>>>>);

impl Names {
    pub fn with(self, name: &str, answers: &[&[&str]]) -> Self {
        let answers = answers.iter().map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        self.0.lock().unwrap().insert(name.to_string(), answers);
        self
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().unwrap();
        let answers = names.get_mut(name).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name"))?;
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

/// Settings under which only the address rule decides; `allow` names the networks that may be dialled.
pub fn settings(allow: &[&str]) -> Settings {
    let policy =
        Policy { allow_http: true, allow_private: allow.iter().map(|net| net.parse().unwrap()).collect(), ..Policy::default() };
    let second = Duration::from_secs(2);
    let timeouts = Timeouts { connect: second, first_byte: second, idle: second, total: Duration::from_secs(10) };
    Settings { policy, timeouts, resolver: Arc::new(Names::default()), ..Settings::default() }
}

pub fn origin(change: impl FnOnce(&mut Settings)) -> HttpOrigin {
    let mut settings = settings(&["127.0.0.1/32"]);
    change(&mut settings);
    HttpOrigin::new(settings).unwrap()
}

pub async fn open(origin: &HttpOrigin, url: &str) -> Result<Opened, Failure> {
    origin.open(Request { url: url.to_string(), headers: Vec::new() }).await
}

/// The whole body of a URL.
pub async fn get(origin: &HttpOrigin, url: &str) -> Result<Vec<u8>, Failure> {
    let mut opened = open(origin, url).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = opened.body.chunk().await? {
        assert!(!piece.is_empty() && piece.len() <= 2 * Settings::default().buffer, "a piece of {} bytes", piece.len());
        bytes.extend_from_slice(&piece);
    }
    assert!(opened.body.chunk().await?.is_none(), "the end stays the end");
    Ok(bytes)
}
