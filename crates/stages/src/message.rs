//! The message of a task, and of what comes of it.

use bytes::Bytes;
use longshore_core::format::{self, Task};
use serde::Serialize;

use crate::ports::Message;

/// The message of a task: keyed by the event, with the task's life and what it carries.
pub fn of(task: &Task) -> Message {
    message(task, format::encode_task(task))
}

/// The message of what came of a task: with its key and its headers.
pub fn of_result<T: Serialize>(task: &Task, value: &T) -> Message {
    message(task, format::encode(value))
}

fn message(task: &Task, value: Vec<u8>) -> Message {
    Message { key: Some(Bytes::from(task.trace_id.clone())), value: Some(Bytes::from(value)), headers: task.message_headers() }
}
