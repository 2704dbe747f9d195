//! What librdkafka can do and `rdkafka` has no words for: which id a topic has, where partitions begin and end, and a commit
//! whose end is told without waiting for it. All of the workspace's `unsafe` code is here.
//!
//! *Owns*: the memory of requests and answers; every pointer is freed by the [`Owned`] that holds it.
//! *Does not own*: the client, which the caller keeps alive for the time of the call. Each call blocks, up to its timeout.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{IsError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;

/// The id of a topic: another one after it was deleted and made again (KIP-516), in base64.
pub(super) type TopicId = String;

/// Which end of a partition is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The lowest offset that is kept.
    Earliest,
    /// The offset that the next record will get.
    Latest,
}

/// A pointer that librdkafka gave us, and how it is given back.
struct Owned<T> {
    pointer: *mut T,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.pointer.is_null() {
            // SAFETY: the pointer came from the constructor that belongs to `free`, and is freed here only.
            unsafe { (self.free)(self.pointer) }
        }
    }
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: librdkafka's texts end with a zero byte and live as long as the answer that they are read from.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

fn names(topics: &[&str]) -> Vec<CString> {
    topics.iter().filter_map(|name| CString::new(*name).ok()).collect()
}

/// Sends a request and waits for its answer.
fn ask<C: ClientContext>(
    client: &Client<C>,
    what: rd::rd_kafka_admin_op_t,
    timeout: Duration,
    send: impl FnOnce(*mut rd::rd_kafka_t, *const rd::rd_kafka_AdminOptions_t, *mut rd::rd_kafka_queue_t),
) -> Result<Owned<rd::rd_kafka_event_t>, RDKafkaErrorCode> {
    let rk = client.native_ptr();
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client is alive for the whole call; queue and options are freed after the answer has come, or has been
    // given up: librdkafka counts references to the queue itself.
    unsafe {
        let queue = Owned { pointer: rd::rd_kafka_queue_new(rk), free: rd::rd_kafka_queue_destroy };
        let options = Owned { pointer: rd::rd_kafka_AdminOptions_new(rk, what), free: rd::rd_kafka_AdminOptions_destroy };
        rd::rd_kafka_AdminOptions_set_request_timeout(options.pointer, millis, ptr::null_mut(), 0);
        send(rk, options.pointer, queue.pointer);
        let event = rd::rd_kafka_queue_poll(queue.pointer, millis.saturating_add(1_000));
        if event.is_null() {
            return Err(RDKafkaErrorCode::OperationTimedOut);
        }
        let event = Owned { pointer: event, free: rd::rd_kafka_event_destroy };
        let error = rd::rd_kafka_event_error(event.pointer);
        if error.is_error() { Err(error.into()) } else { Ok(event) }
    }
}

/// Sends positions to be committed; their end comes to the consumer's own queue, as `ConsumerContext::commit_callback`.
pub(super) fn commit<C: ClientContext>(client: &Client<C>, positions: &TopicPartitionList) -> Result<(), RDKafkaErrorCode> {
    let rk = client.native_ptr();
    // SAFETY: the client is alive for the whole call, the positions are copied, and without a callback nobody needs the
    // last argument.
    let error = unsafe {
        let queue = Owned { pointer: rd::rd_kafka_queue_get_consumer(rk), free: rd::rd_kafka_queue_destroy };
        rd::rd_kafka_commit_queue(rk, positions.ptr(), queue.pointer, None, ptr::null_mut())
    };
    if error.is_error() { Err(error.into()) } else { Ok(()) }
}

/// The ids of these topics; a topic that is not there has none.
pub(super) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    timeout: Duration,
) -> Result<BTreeMap<String, TopicId>, RDKafkaErrorCode> {
    let topics = names(topics);
    let mut pointers: Vec<*const c_char> = topics.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the names outlive the collection, which copies them.
    let collection = unsafe { rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()) };
    let collection = Owned { pointer: collection, free: rd::rd_kafka_TopicCollection_destroy };
    let op = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: all pointers are alive while the request is made.
    let event = ask(client, op, timeout, |rk, options, queue| unsafe {
        rd::rd_kafka_DescribeTopics(rk, collection.pointer, options, queue);
    })?;
    let mut ids = BTreeMap::new();
    // SAFETY: the descriptions belong to the event, which outlives this block.
    unsafe {
        let mut count = 0;
        let result = rd::rd_kafka_event_DescribeTopics_result(event.pointer);
        let all = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        for n in 0..count {
            let topic = *all.add(n);
            let error = rd::rd_kafka_TopicDescription_error(topic);
            if error.is_null() || !rd::rd_kafka_error_code(error).is_error() {
                let id = rd::rd_kafka_Uuid_base64str(rd::rd_kafka_TopicDescription_topic_id(topic));
                ids.insert(text(rd::rd_kafka_TopicDescription_name(topic)), text(id));
            }
        }
    }
    Ok(ids)
}

/// One end of each of these partitions. Those that are not there are left out.
pub(super) fn ends<C: ClientContext>(
    client: &Client<C>,
    partitions: &[(String, i32)],
    end: End,
    timeout: Duration,
) -> Result<BTreeMap<(String, i32), i64>, RDKafkaErrorCode> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    // rd_kafka_OffsetSpec_t: -2 is the earliest, -1 the latest.
    let spec = match end {
        End::Earliest => rdkafka::Offset::Beginning,
        End::Latest => rdkafka::Offset::End,
    };
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition_offset(topic, *partition, spec).map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
    }
    let op = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS;
    // SAFETY: the list outlives the request, which copies it.
    let event = ask(client, op, timeout, |rk, options, queue| unsafe {
        rd::rd_kafka_ListOffsets(rk, list.ptr(), options, queue);
    })?;
    let mut all = BTreeMap::new();
    // SAFETY: the answers belong to the event, which outlives this block.
    unsafe {
        let mut count = 0;
        let result = rd::rd_kafka_event_ListOffsets_result(event.pointer);
        let infos = rd::rd_kafka_ListOffsets_result_infos(result, &mut count);
        for n in 0..count {
            let found = &*rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(n));
            if !found.err.is_error() && found.offset >= 0 {
                all.insert((text(found.topic), found.partition), found.offset);
            }
        }
    }
    Ok(all)
}
