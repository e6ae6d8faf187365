//! Records as librdkafka hands them over: many at a time, each borrowed until the batch is taken again.
#![allow(unsafe_code, reason = "the foreign interface of librdkafka")]

use super::{Failure, Native, checked, millis, text_of};
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
    messages: Vec<*mut c::rd_kafka_message_t>,
}

// SAFETY: messages may be read and destroyed on any thread.
unsafe impl Send for Batch {}

/// One element of a batch.
#[derive(Clone, Copy)]
pub(in crate::kafka) struct Piece<'a>(&'a c::rd_kafka_message_t);

impl Batch {
    /// Gives back what it holds and takes at most so many from a queue: the first when it comes, within `wait`, the
    /// others if they are there.
    pub(in crate::kafka) fn take(&mut self, queue: &Queue, wait: Duration, max: usize) {
        self.clear();
        if max == 0 {
            return;
        }
        // SAFETY: the queue is alive; the message is ours until it is destroyed.
        let first = unsafe { c::rd_kafka_consume_queue(queue.0.as_ptr(), millis(wait)) };
        if first.is_null() {
            return;
        }
        self.messages.reserve(max);
        self.messages.push(first);
        let room = self.messages.spare_capacity_mut();
        let room_len = room.len().min(max - 1);
        if room_len == 0 {
            return;
        }
        // The batch call alone would wait until all were there.
        // SAFETY: it writes at most `room_len` pointers into room that is reserved, and says how many.
        unsafe {
            let taken =
                c::rd_kafka_consume_batch_queue(queue.0.as_ptr(), 0, room.as_mut_ptr().cast(), room_len);
            let taken = usize::try_from(taken).unwrap_or(0).min(room_len);
            self.messages.set_len(1 + taken);
        }
    }

    /// Everything, in order.
    pub(in crate::kafka) fn pieces(&self) -> impl ExactSizeIterator<Item = Piece<'_>> {
        // SAFETY: every pointer is a message that is ours until `clear`.
        self.messages.iter().map(|message| Piece(unsafe { &**message }))
    }

    fn clear(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: ours, given back once.
            unsafe { c::rd_kafka_message_destroy(message) };
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<'a> Piece<'a> {
    /// Whether both are of the same topic of one client, without comparing names.
    pub(in crate::kafka) fn same_topic(self, other: Self) -> bool {
        std::ptr::eq(self.0.rkt, other.0.rkt)
    }

    /// The topic's name; none where the piece concerns no topic.
    pub(in crate::kafka) fn topic(self) -> Option<&'a CStr> {
        if self.0.rkt.is_null() {
            return None;
        }
        // SAFETY: the message holds a reference to its topic, whose name is terminated.
        Some(unsafe { CStr::from_ptr(c::rd_kafka_topic_name(self.0.rkt)) })
    }

    /// Partition.
    pub(in crate::kafka) const fn partition(self) -> i32 {
        self.0.partition
    }

    /// Offset; of an error, where it happened.
    pub(in crate::kafka) const fn offset(self) -> i64 {
        self.0.offset
    }

    /// None for a record.
    pub(in crate::kafka) fn failure(self) -> Option<Failure> {
        let failure = checked(self.0.err).err()?;
        // SAFETY: an error's payload is its text.
        let text = unsafe { text_of(c::rd_kafka_message_errstr(std::ptr::from_ref(self.0))) };
        Some(Failure { text, ..failure })
    }

    /// Value; empty where there is none.
    pub(in crate::kafka) fn value(self) -> &'a [u8] {
        // SAFETY: as long as said, alive as long as the message.
        unsafe { slice_of(self.0.payload, self.0.len) }.unwrap_or_default()
    }

    /// Key.
    pub(in crate::kafka) fn key(self) -> Option<&'a [u8]> {
        // SAFETY: as above.
        unsafe { slice_of(self.0.key, self.0.key_len) }
    }

    /// Milliseconds since the epoch, as the broker stamped them; none: it has none.
    pub(in crate::kafka) fn timestamp(self) -> Option<i64> {
        // SAFETY: the message is alive; its kind of time is not asked for.
        let millis = unsafe { c::rd_kafka_message_timestamp(self.0, std::ptr::null_mut()) };
        (millis >= 0).then_some(millis)
    }

    /// Appends the headers; those whose names are no text are left out.
    pub(in crate::kafka) fn headers(self, into: &mut Vec<(&'a str, &'a [u8])>) {
        let mut headers = std::ptr::null_mut();
        // SAFETY: the headers belong to the message and live as long; the index bounds the loop.
        unsafe {
            // "None" is the common answer: it must cost no error value.
            if c::rd_kafka_message_headers(self.0, &raw mut headers) != NO_ERROR {
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
                    into.push((name, slice_of(value.cast_mut(), length).unwrap_or_default()));
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
