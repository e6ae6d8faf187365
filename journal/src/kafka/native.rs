//! A librdkafka client: made, polled, asked and destroyed.
//!
//! Lives here: the handle and its callbacks; below, messages as they are read (`batch`), appended (`parcel`),
//! transactions (`transaction`), lists of positions (`positions`). Does not live here: anything of the pipeline;
//! groups, topics and answers are plain values.
//!
//! Invariants:
//! * This folder is the only unsafe code of the crate. Every pointer it is given is owned by one value, whose drop
//!   gives it back; none leaves the folder.
//! * Callbacks run on the thread that polls. They copy what they are told and return.
#![allow(unsafe_code, reason = "the foreign interface of librdkafka")]

mod batch;
mod group;
mod parcel;
mod positions;
mod transaction;

pub(super) use batch::{Batch, Message, Queue};
pub(super) use group::Change;
pub(super) use parcel::{Delivery, Parcel};
pub(super) use positions::{Place, Positions};
pub(super) use transaction::Proof;

use crate::wake::locked;
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{ClientConfig, config::NativeClientConfig};
use schemas::topic::Topic;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Told librdkafka's statistics, as JSON text, with the client's role.
pub(super) type StatisticsSink = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// What a call was answered with, when it did not succeed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) code: RDKafkaErrorCode,
    pub(super) text: String,
    /// The client is of no more use.
    pub(super) fatal: bool,
    /// The same call may be made again.
    pub(super) retriable: bool,
    /// The transaction must be aborted.
    pub(super) abort: bool,
}

impl Failure {
    fn of(code: c::rd_kafka_resp_err_t) -> Self {
        // SAFETY: the text is static.
        let text = unsafe { text_of(c::rd_kafka_err2str(code)) };
        Self { code: code.into(), text, fatal: false, retriable: false, abort: false }
    }

    /// Takes an error object over.
    fn taken(error: *mut c::rd_kafka_error_t) -> Result<(), Self> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: the object is ours until it is destroyed here.
        unsafe {
            let failure = Self {
                code: c::rd_kafka_error_code(error).into(),
                text: text_of(c::rd_kafka_error_string(error)),
                fatal: c::rd_kafka_error_is_fatal(error) != 0,
                retriable: c::rd_kafka_error_is_retriable(error) != 0,
                abort: c::rd_kafka_error_txn_requires_abort(error) != 0,
            };
            c::rd_kafka_error_destroy(error);
            Err(failure)
        }
    }
}

fn checked(code: c::rd_kafka_resp_err_t) -> Result<(), Failure> {
    match code {
        c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(Failure::of(code)),
    }
}

/// Copies a C string; empty for none.
///
/// # Safety
/// The pointer is null or a terminated string.
unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// As librdkafka counts, rounded up: a wait of less than a millisecond that became none would keep a core busy.
pub(super) fn millis(of: Duration) -> c_int {
    c_int::try_from(of.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX)
}

/// Number of partitions of a topic by its name, or why it is not known.
pub(super) type PartitionCount = (String, Result<u32, Failure>);

/// What callbacks find and leave.
pub(super) struct Context {
    /// In words, for logs and statistics.
    role: String,
    /// Rebalances that were not told yet.
    changes: Mutex<Vec<Change>>,
    /// Rebalances are answered at once, nobody is told.
    closing: AtomicBool,
    /// The last thing librdkafka complained of.
    complaint: Mutex<Option<String>>,
    /// Why a broker refused the login, when one did.
    refusal: Mutex<Option<String>>,
    statistics: Option<StatisticsSink>,
}

/// Kinds of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Reads.
    Consumer,
    /// Writes.
    Producer,
}

/// A client.
pub(super) struct Native {
    rk: NonNull<c::rd_kafka_t>,
    context: Arc<Context>,
    topics: Vec<NonNull<c::rd_kafka_topic_t>>,
}

// SAFETY: librdkafka's handles may be used from any thread; the topics' handles are counted references.
unsafe impl Send for Native {}
// SAFETY: as above.
unsafe impl Sync for Native {}

impl Native {
    /// Makes a client; nothing is connected yet.
    pub(super) fn new(
        kind: Kind,
        role: &str,
        config: &ClientConfig,
        statistics: Option<StatisticsSink>,
    ) -> Result<Self, String> {
        let native = config.create_native_config().map_err(|why| why.to_string())?;
        let context = Arc::new(Context {
            role: role.to_owned(),
            changes: Mutex::default(),
            closing: AtomicBool::new(false),
            complaint: Mutex::default(),
            refusal: Mutex::default(),
            statistics,
        });
        let kind_of = match kind {
            Kind::Consumer => c::rd_kafka_type_t::RD_KAFKA_CONSUMER,
            Kind::Producer => c::rd_kafka_type_t::RD_KAFKA_PRODUCER,
        };
        let conf = native.ptr();
        let mut why = [0 as c_char; 512];
        // SAFETY: the configuration is valid; the context outlives the client, which `Self` owns along with it. On
        // success the client owns the configuration, hence the `forget`.
        let rk = unsafe {
            c::rd_kafka_conf_set_opaque(conf, Arc::as_ptr(&context).cast_mut().cast());
            c::rd_kafka_conf_set_log_cb(conf, Some(on_log));
            c::rd_kafka_conf_set_error_cb(conf, Some(on_error));
            c::rd_kafka_conf_set_stats_cb(conf, Some(on_statistics));
            match kind {
                Kind::Consumer => c::rd_kafka_conf_set_rebalance_cb(conf, Some(group::on_rebalance)),
                Kind::Producer if config.get("transactional.id").is_none() => {
                    c::rd_kafka_conf_set_dr_msg_cb(conf, Some(parcel::on_delivery));
                }
                Kind::Producer => {}
            }
            let rk = c::rd_kafka_new(kind_of, conf, why.as_mut_ptr(), why.len());
            NonNull::new(rk).ok_or_else(|| text_of(why.as_ptr()))?
        };
        std::mem::forget::<NativeClientConfig>(native);
        Ok(Self { rk, context, topics: Vec::new() })
    }

    fn ptr(&self) -> *mut c::rd_kafka_t {
        self.rk.as_ptr()
    }

    /// Makes the client know topics, so that records go out to them by number.
    pub(super) fn learn(&mut self, names: &[CString]) -> Result<(), Failure> {
        for name in names {
            // SAFETY: the name is terminated; no configuration: the client's own.
            let topic = unsafe { c::rd_kafka_topic_new(self.ptr(), name.as_ptr(), std::ptr::null_mut()) };
            // SAFETY: no arguments.
            let last = || Failure::of(unsafe { c::rd_kafka_last_error() });
            self.topics.push(NonNull::new(topic).ok_or_else(last)?);
        }
        Ok(())
    }

    fn topic(&self, of: Topic) -> *mut c::rd_kafka_topic_t {
        self.topics.get(of as usize).map_or(std::ptr::null_mut(), |topic| topic.as_ptr())
    }

    /// Serves callbacks for at most so long.
    pub(super) fn poll(&self, wait: Duration) {
        // SAFETY: the handle is alive.
        unsafe { c::rd_kafka_poll(self.ptr(), millis(wait)) };
    }

    /// Why the client is of no more use, if it is.
    pub(super) fn fatal(&self) -> Option<Failure> {
        let mut why = [0 as c_char; 512];
        // SAFETY: the buffer is as long as said.
        let code = unsafe { c::rd_kafka_fatal_error(self.ptr(), why.as_mut_ptr(), why.len()) };
        let failure = checked(code).err()?;
        // SAFETY: it was filled with a terminated string.
        Some(Failure { text: unsafe { text_of(why.as_ptr()) }, fatal: true, ..failure })
    }

    /// What librdkafka complained of last, and no more from then on.
    pub(super) fn complaint(&self) -> Option<String> {
        locked(&self.context.complaint).take()
    }

    /// Why a broker refused the login, and no more from then on.
    pub(super) fn refusal(&self) -> Option<String> {
        locked(&self.context.refusal).take()
    }

    /// Number of partitions of each topic that the client has learned, by its name.
    pub(super) fn partition_counts(&self, wait: Duration) -> Result<Vec<PartitionCount>, Failure> {
        let mut metadata = std::ptr::null();
        // SAFETY: on success the answer is ours until it is destroyed below; its counts bound its arrays.
        unsafe {
            let code =
                c::rd_kafka_metadata(self.ptr(), 0, std::ptr::null_mut(), &raw mut metadata, millis(wait));
            checked(code)?;
            let topics = (*metadata).topics;
            let count = usize::try_from((*metadata).topic_cnt).unwrap_or(0);
            let counts = (0..count)
                .map(|index| {
                    let topic = &*topics.add(index);
                    let partitions = u32::try_from(topic.partition_cnt).unwrap_or(0);
                    (text_of(topic.topic), checked(topic.err).map(|()| partitions))
                })
                .collect();
            c::rd_kafka_metadata_destroy(metadata);
            Ok(counts)
        }
    }

    /// First offset kept, and the offset after the last record that the client's isolation shows.
    pub(super) fn bounds(&self, topic: &CStr, partition: i32, wait: Duration) -> Result<(i64, i64), Failure> {
        let (mut low, mut high) = (0, 0);
        // SAFETY: the name is terminated, the places are ours.
        checked(unsafe {
            c::rd_kafka_query_watermark_offsets(
                self.ptr(),
                topic.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
                millis(wait),
            )
        })?;
        Ok((low, high))
    }

    /// Lets go of every record that is not delivered; their delivery reports say so.
    pub(super) fn purge(&self, wait: Duration) {
        // SAFETY: the handle is alive.
        unsafe {
            c::rd_kafka_purge(self.ptr(), c::RD_KAFKA_PURGE_F_QUEUE | c::RD_KAFKA_PURGE_F_INFLIGHT);
            c::rd_kafka_flush(self.ptr(), millis(wait));
        }
    }

    /// Waits until every record has its report, for at most so long.
    pub(super) fn flush(&self, wait: Duration) -> Result<(), Failure> {
        // SAFETY: the handle is alive.
        checked(unsafe { c::rd_kafka_flush(self.ptr(), millis(wait)) })
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        self.context.closing.store(true, std::sync::atomic::Ordering::Release);
        for topic in self.topics.drain(..) {
            // SAFETY: our reference, given back once.
            unsafe { c::rd_kafka_topic_destroy(topic.as_ptr()) };
        }
        // SAFETY: the last use of the handle; queues of it are dropped before by those who hold both.
        unsafe { c::rd_kafka_destroy(self.ptr()) };
    }
}

/// The context behind an opaque pointer.
///
/// # Safety
/// The pointer is the one set in [`Native::new`], and the client is alive.
unsafe fn context_of<'a>(opaque: *mut c_void) -> &'a Context {
    // SAFETY: the caller's promise.
    unsafe { &*opaque.cast::<Context>() }
}

unsafe extern "C" fn on_log(
    rk: *const c::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    text: *const c_char,
) {
    // SAFETY: librdkafka's own strings. The opaque is null while the client is being made.
    let (role, facility, text) = unsafe {
        let opaque = c::rd_kafka_opaque(rk);
        let role = if opaque.is_null() { "new" } else { context_of(opaque).role.as_str() };
        (role, text_of(facility), text_of(text))
    };
    // A setting of the other kind of client is no news: the same settings are passed to all.
    if level <= 3 {
        tracing::warn!(target: "librdkafka", role, "{facility}: {text}");
    } else if level <= 5 && facility != "CONFWARN" {
        tracing::info!(target: "librdkafka", role, "{facility}: {text}");
    } else {
        tracing::debug!(target: "librdkafka", role, "{facility}: {text}");
    }
}

unsafe extern "C" fn on_error(
    _: *mut c::rd_kafka_t,
    code: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: librdkafka's own string, our context.
    let (context, reason) = unsafe { (context_of(opaque), text_of(reason)) };
    tracing::debug!(target: "librdkafka", role = context.role, code, "{reason}");
    if code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__AUTHENTICATION as c_int {
        *locked(&context.refusal) = Some(reason.clone());
    }
    let mut complaint = locked(&context.complaint);
    // That all brokers are away says less than why the last one is.
    let all_away = code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as c_int;
    if !all_away || complaint.is_none() {
        *complaint = Some(reason);
    }
}

unsafe extern "C" fn on_statistics(
    _: *mut c::rd_kafka_t,
    json: *mut c_char,
    length: usize,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: the text is as long as said; our context.
    let (context, json) =
        unsafe { (context_of(opaque), std::slice::from_raw_parts(json.cast::<u8>(), length)) };
    if let (Some(tell), Ok(json)) = (&context.statistics, std::str::from_utf8(json)) {
        tell(&context.role, json);
    }
    // The text stays librdkafka's.
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_wait_is_a_wait() {
        let counted = [0, 1, 999, 1_000, 1_001].map(|micros| millis(Duration::from_micros(micros)));
        assert_eq!(counted, [0, 1, 1, 1, 2]);
        assert_eq!(millis(Duration::MAX), c_int::MAX);
    }
}
