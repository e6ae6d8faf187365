//! Records as librdkafka hands them over: many at a time, each borrowed until the batch is taken again.
#![allow(unsafe_code, reason = "the foreign interface of librdkafka")]

use super::{Failure, Native, checked, millis, text_of};
use crate::port::HeaderSource;
use rdkafka::bindings as c;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;
use std::time::Duration;

const NO_ERROR: c::rd_kafka_resp_err_t = c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// A queue of a client. It is dropped before the client.
pub(in crate::kafka) struct Queue(NonNull<c::rd_kafka_queue_t>);

// SAFETY: queues may be used from any thread.
unsafe impl Send for Queue {}

impl Queue {
    pub(super) fn owned(queue: *mut c::rd_kafka_queue_t) -> Option<Self> {
        NonNull::new(queue).map(Self)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once.
        unsafe { c::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

/// Records, and what else came between them.
#[derive(Default)]
pub(in crate::kafka) struct Batch {
    messages: Vec<Message>,
}

/// A record, or what came instead of one: ours until it is dropped.
#[repr(transparent)]
pub(in crate::kafka) struct Message(NonNull<c::rd_kafka_message_t>);

// SAFETY: messages may be read and destroyed on any thread.
unsafe impl Send for Message {}

impl Batch {
    /// Gives back what it holds and takes at most so many from a queue: the first when it comes, within `wait`, the
    /// others if they are there.
    pub(in crate::kafka) fn take(&mut self, queue: &Queue, wait: Duration, max: usize) {
        self.messages.clear();
        if max == 0 {
            return;
        }
        // SAFETY: the queue is alive; the message is ours until it is destroyed.
        let first = unsafe { c::rd_kafka_consume_queue(queue.0.as_ptr(), millis(wait)) };
        let Some(first) = NonNull::new(first) else { return };
        self.messages.reserve(max);
        self.messages.push(Message(first));
        let room = self.messages.spare_capacity_mut();
        let room_len = room.len().min(max - 1);
        if room_len == 0 {
            return;
        }
        // The batch call alone would wait until all were there.
        // SAFETY: it writes at most `room_len` pointers, none of them null, into room that is reserved, and says how
        // many; a `Message` is such a pointer.
        unsafe {
            let taken =
                c::rd_kafka_consume_batch_queue(queue.0.as_ptr(), 0, room.as_mut_ptr().cast(), room_len);
            let taken = usize::try_from(taken).unwrap_or(0).min(room_len);
            self.messages.set_len(1 + taken);
        }
    }

    /// Everything, in order.
    pub(in crate::kafka) fn messages(&self) -> &[Message] {
        &self.messages
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: ours, given back once.
        unsafe { c::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

impl Message {
    const fn of(&self) -> &c::rd_kafka_message_t {
        // SAFETY: alive until it is dropped.
        unsafe { self.0.as_ref() }
    }

    /// Whether both are records, and of the same partition of one topic; names are not compared.
    pub(in crate::kafka) fn are_records_of_one(&self, other: &Self) -> bool {
        let (one, other) = (self.of(), other.of());
        one.partition == other.partition
            && std::ptr::eq(one.rkt, other.rkt)
            && one.err == NO_ERROR
            && other.err == NO_ERROR
    }

    /// The topic's name; none where it concerns no topic.
    pub(in crate::kafka) fn topic(&self) -> Option<&CStr> {
        let topic = self.of().rkt;
        if topic.is_null() {
            return None;
        }
        // SAFETY: the message holds a reference to its topic, whose name is terminated.
        Some(unsafe { CStr::from_ptr(c::rd_kafka_topic_name(topic)) })
    }

    /// Partition.
    pub(in crate::kafka) const fn partition(&self) -> i32 {
        self.of().partition
    }

    /// Offset; of an error, where it happened.
    pub(in crate::kafka) const fn offset(&self) -> i64 {
        self.of().offset
    }

    /// None for a record.
    pub(in crate::kafka) fn failure(&self) -> Option<Failure> {
        let failure = checked(self.of().err).err()?;
        // SAFETY: an error's payload is its text.
        let text = unsafe { text_of(c::rd_kafka_message_errstr(self.0.as_ptr())) };
        Some(Failure { text, ..failure })
    }

    /// Value; empty where there is none.
    pub(in crate::kafka) fn value(&self) -> &[u8] {
        // SAFETY: as long as said, alive as long as the message.
        unsafe { slice_of(self.of().payload, self.of().len) }.unwrap_or_default()
    }

    /// Key.
    pub(in crate::kafka) fn key(&self) -> Option<&[u8]> {
        // SAFETY: as above.
        unsafe { slice_of(self.of().key, self.of().key_len) }
    }

    /// Milliseconds since the epoch, as the broker stamped them; none: it has none.
    pub(in crate::kafka) fn timestamp(&self) -> Option<i64> {
        // SAFETY: the message is alive; its kind of time is not asked for.
        let millis = unsafe { c::rd_kafka_message_timestamp(self.0.as_ptr(), std::ptr::null_mut()) };
        (millis >= 0).then_some(millis)
    }
}

/// librdkafka takes them apart when it is asked, with a buffer for each record, also for one that has none.
impl HeaderSource for Message {
    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        let mut headers = std::ptr::null_mut();
        // SAFETY: the headers belong to the message and live as long; the index bounds the loop.
        unsafe {
            if c::rd_kafka_message_headers(self.0.as_ptr(), &raw mut headers) != NO_ERROR {
                return;
            }
            for index in 0.. {
                let (mut name, mut value): (*const c_char, *const c_void) =
                    (std::ptr::null(), std::ptr::null());
                let mut length = 0;
                let code = c::rd_kafka_header_get_all(
                    headers,
                    index,
                    &raw mut name,
                    &raw mut value,
                    &raw mut length,
                );
                if code != NO_ERROR {
                    return;
                }
                if let Ok(name) = CStr::from_ptr(name).to_str() {
                    visit(name, slice_of(value.cast_mut(), length).unwrap_or_default());
                }
            }
        }
    }
}

/// # Safety
/// The pointer is null, or to so many bytes that live for `'a`.
unsafe fn slice_of<'a>(start: *mut c_void, length: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) })
}

impl Native {
    /// A queue of its own for partitions that are read one by one.
    pub(in crate::kafka) fn own_queue(&self) -> Option<Queue> {
        // SAFETY: the handle is alive; the reference is given back by the queue's drop.
        Queue::owned(unsafe { c::rd_kafka_queue_new(self.ptr()) })
    }

    /// Starts reading a partition of a learned topic from an offset on, into a queue.
    pub(in crate::kafka) fn start(
        &self,
        topic: schemas::topic::Topic,
        partition: i32,
        offset: i64,
        queue: &Queue,
    ) -> Result<(), Failure> {
        let topic = self.topic(topic);
        // SAFETY: topic and queue are alive.
        let answer = unsafe { c::rd_kafka_consume_start_queue(topic, partition, offset, queue.0.as_ptr()) };
        if answer == 0 {
            return Ok(());
        }
        // SAFETY: no arguments.
        Err(Failure::of(unsafe { c::rd_kafka_last_error() }))
    }

    /// Stops it; what lies in the queue is of no more use.
    pub(in crate::kafka) fn stop(&self, topic: schemas::topic::Topic, partition: i32) {
        // SAFETY: the topic is alive. A partition that was not started has nothing to stop.
        unsafe { c::rd_kafka_consume_stop(self.topic(topic), partition) };
    }
}
