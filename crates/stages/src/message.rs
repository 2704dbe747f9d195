//! The message of a task, and of what comes of it.

use bytes::Bytes;
use longshore_core::format::{self, Task};
use serde::Serialize;

use crate::ports::Message;

/// The message of a task, its result or its dead letter: keyed by the event, with the task's life and what it carries.
pub fn of_task<T: Serialize>(task: &Task, value: &T) -> Message {
    let (key, value) = (Bytes::from(task.trace_id.clone()), Bytes::from(format::encode(value)));
    Message { key: Some(key), value: Some(value), headers: task.message_headers() }
}
