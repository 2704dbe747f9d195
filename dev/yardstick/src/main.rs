//! The bare loop that Longshore is measured against: read a list of URLs, keep a number of requests in flight, stream
//! each body into `.N.part` while hashing it, rename it to `N`. It retries nothing, records nothing, syncs nothing and
//! checks no address: what is left is the price of moving the bytes.
//!
//! `yardstick LIST DIR [IN_FLIGHT]`; exits with 1 when any file is missing at the end.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use reqwest::Client;
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("{failed} files failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}\nusage: yardstick LIST DIR [IN_FLIGHT]");
            ExitCode::from(2)
        }
    }
}

/// Downloads the list and returns how many files failed.
fn run() -> Result<usize> {
    let mut args = std::env::args().skip(1);
    let list = args.next().ok_or("LIST is missing")?;
    let dir: Arc<Path> = PathBuf::from(args.next().ok_or("DIR is missing")?).into();
    let in_flight = args.next().map_or(Ok(64), |n| n.parse())?;
    let urls: Vec<String> = std::fs::read_to_string(list)?.lines().map(str::to_owned).collect();
    let client = Client::builder().no_proxy().pool_max_idle_per_host(in_flight).http1_only().build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let start = Instant::now();
    let (files, failed, bytes) = runtime.block_on(download(client, urls, dir, in_flight));
    let seconds = start.elapsed().as_secs_f64();
    println!("{files} files, {failed} failed, {bytes} bytes in {seconds:.3} s: {:.0} files/s", files as f64 / seconds);
    Ok(failed)
}

/// Files stored, files failed and bytes stored.
async fn download(client: Client, urls: Vec<String>, dir: Arc<Path>, in_flight: usize) -> (usize, usize, u64) {
    stream::iter(urls.into_iter().enumerate())
        .map(|(number, url)| tokio::spawn(one(client.clone(), url, dir.clone(), number)))
        .buffer_unordered(in_flight)
        .fold((0, 0, 0), |(files, failed, bytes), end| async move {
            match end {
                Ok(Ok(size)) => (files + 1, failed, bytes + size),
                _ => (files, failed + 1, bytes),
            }
        })
        .await
}

/// Downloads one file and returns its size in bytes.
async fn one(client: Client, url: String, dir: Arc<Path>, number: usize) -> Result<u64> {
    let part = dir.join(format!(".{number}.part"));
    let mut body = client.get(url).send().await?.error_for_status()?.bytes_stream();
    let (mut file, mut hash, mut size) = (File::create(&part)?, Sha256::new(), 0);
    while let Some(piece) = body.next().await {
        let piece = piece?;
        hash.update(&piece);
        file.write_all(&piece)?;
        size += piece.len() as u64;
    }
    std::hint::black_box(hash.finalize());
    std::fs::rename(&part, dir.join(number.to_string()))?;
    Ok(size)
}
