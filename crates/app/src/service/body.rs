//! Bodies, read within bounds of size, time and memory.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::Refusal;
use super::admission::{Admission, Room};

/// The longest that a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a refused body is read, so that its sender gets to the answer, and for how long.
const DISCARDED_BYTES: usize = 2 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);
/// What is reserved for a body whose length is not told.
const UNTOLD_BYTES: usize = 64 << 10;

/// Reads a body of at most `max` bytes, as far as there is room.
pub(super) async fn read(
    headers: &HeaderMap,
    body: &mut Body,
    max: usize,
    admission: &Admission,
) -> Result<(Bytes, Room), Refusal> {
    let told = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told > max as u64) {
        return Err(too_large(max));
    }
    let expected = told.map_or(UNTOLD_BYTES, |told| usize::try_from(told).unwrap_or(max)).min(max);
    let all = collect(body, expected, max, admission);
    tokio::time::timeout(BODY_TIMEOUT, all).await.unwrap_or_else(|_| {
        let error = format!("the body took longer than {} s", BODY_TIMEOUT.as_secs());
        Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, error, "send fewer events at once"))
    })
}

async fn collect(body: &mut Body, expected: usize, max: usize, admission: &Admission) -> Result<(Bytes, Room), Refusal> {
    // Pages that are not written to take no memory, so a length that is only claimed costs nothing.
    let (mut bytes, mut room) = (BytesMut::with_capacity(expected), Room::default());
    while let Some(frame) = body.frame().await {
        let broken = |_| Refusal::new(StatusCode::BAD_REQUEST, "the body ended early", "send it again");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if bytes.len() + data.len() > max {
            return Err(too_large(max));
        }
        admission.extend(&mut room, bytes.len() + data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.freeze(), room))
}

fn too_large(max: usize) -> Refusal {
    let error = format!("the body is longer than http.max_body, {max} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error, "send fewer events at once")
}

/// Reads on for a while: a connection that is closed on a sender which is still writing takes the answer with it.
/// A sender that waits for leave to send (RFC 9110 §10.1.1) is not given it.
pub(super) async fn discard(headers: &HeaderMap, body: &mut Body) {
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let rest = async {
        let mut read = 0;
        while read < DISCARDED_BYTES
            && let Some(Ok(frame)) = body.frame().await
        {
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, rest).await;
}
