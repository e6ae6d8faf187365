//! Appends: one idempotent producer shared by the process, bounded in bytes, acknowledged by delivery reports.
//!
//! Lives here: admission, what a report means, and a new producer after a fatal error. Does not live here: when to
//! retry (the caller: nothing that failed is sent again behind its back).
//!
//! Invariants:
//! * `done` is called once for every append that was taken in, on the thread that serves the producer.
//! * An append that failed with [`JournalError::Retry`] is not in the log; with [`JournalError::Unknown`] it may be.

use super::error::sorted;
use super::native::{Delivery, Kind, Native, Parcel};
use super::{Shared, Ticking};
use crate::port::{Appended, Appender, JournalError, NewRecord, Queued};
use crate::wake::locked;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a turn of the serving thread may wait for reports.
const TURN: Duration = Duration::from_millis(100);
/// How long outstanding reports are waited for when a producer is given up or closed.
const LAST_REPORTS: Duration = Duration::from_secs(5);

/// Levels of the queue.
#[derive(Debug, Default)]
struct Level {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// The shared appender.
pub(super) struct KafkaAppender {
    shared: Arc<Shared>,
    level: Arc<Level>,
    producer: Arc<RwLock<Arc<Native>>>,
    stop: Arc<AtomicBool>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl KafkaAppender {
    /// Makes the producer and the thread that serves it.
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, JournalError> {
        let producer = Arc::new(RwLock::new(Arc::new(produce(&shared)?)));
        let stop = Arc::new(AtomicBool::new(false));
        let serving =
            Serving { shared: Arc::clone(&shared), producer: Arc::clone(&producer), stop: Arc::clone(&stop) };
        let thread = std::thread::Builder::new()
            .name("kafka-appender".to_owned())
            .spawn(move || serving.run())
            .map_err(|why| JournalError::Fatal(format!("a thread for appends: {why}")))?;
        let level = Arc::default();
        Ok(Self { shared, level, producer, stop, thread: std::sync::Mutex::new(Some(thread)) })
    }

    /// The producer of the moment.
    pub(super) fn native(&self) -> Arc<Native> {
        Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for outstanding reports and stops.
    pub(super) fn close(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = locked(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that serves appends had panicked");
        }
    }
}

fn produce(shared: &Shared) -> Result<Native, JournalError> {
    let config = shared.config.appender();
    let mut native = Native::new(Kind::Producer, "appender", &config, shared.statistics.clone())
        .map_err(|why| JournalError::Fatal(format!("the producer: {why}")))?;
    native.learn(&shared.names.all()).map_err(|why| sorted("the producer's topics", &why))?;
    Ok(native)
}

impl Appender for KafkaAppender {
    fn append(&self, records: Vec<NewRecord>, done: Appended) -> Result<(), JournalError> {
        let refused = self.shared.check().and_then(|()| self.shared.layout.admit(&records));
        let bytes = match refused {
            Ok(bytes) => bytes,
            Err(why) => {
                done(Err(why));
                return Ok(());
            }
        };
        let bytes_max = self.shared.config.append_queue_bytes_max;
        let room = |level: usize| level.checked_add(bytes).filter(|after| *after <= bytes_max);
        if let Err(level) = self.level.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, room) {
            return Err(JournalError::Full { bytes: level, bytes_max });
        }
        let count = records.len();
        self.level.records.fetch_add(count, Ordering::AcqRel);
        let (level, shared) = (Arc::clone(&self.level), Arc::clone(&self.shared));
        let reported = move |delivery: Delivery| {
            level.records.fetch_sub(count, Ordering::AcqRel);
            level.bytes.fetch_sub(bytes, Ordering::AcqRel);
            if let Some(stamped) = delivery.stamped {
                shared.clock.appended(stamped.saturating_mul(1000));
            }
            done(meaning(delivery));
        };
        Parcel::send(&self.native(), &records, Box::new(reported));
        Ok(())
    }

    fn queued(&self) -> Queued {
        Queued {
            records: self.level.records.load(Ordering::Acquire),
            bytes: self.level.bytes.load(Ordering::Acquire),
            bytes_max: self.shared.config.append_queue_bytes_max,
        }
    }
}

impl Drop for KafkaAppender {
    fn drop(&mut self) {
        self.close();
    }
}

/// What reports mean for the one who appended.
fn meaning(delivery: Delivery) -> Result<Vec<i64>, JournalError> {
    let Delivery { outcome, possibly, .. } = delivery;
    outcome.map_err(|failure| match sorted("appending", &failure) {
        // A fenced or broken producer is replaced: the append may be made again.
        JournalError::Retry(why) | JournalError::Fenced(why) if possibly => JournalError::Unknown(why),
        JournalError::Fenced(why) => JournalError::Retry(why),
        JournalError::Fatal(why) if failure.code == Code::MessageSizeTooLarge => JournalError::Fatal(
            format!("{why}: raise `max.message.bytes` of the topic (`highwater topics check`)"),
        ),
        other => other,
    })
}

/// The thread that serves callbacks.
struct Serving {
    shared: Arc<Shared>,
    producer: Arc<RwLock<Arc<Native>>>,
    stop: Arc<AtomicBool>,
}

impl Serving {
    fn run(self) {
        let mut complaints = Ticking::default();
        while !self.stop.load(Ordering::Acquire) {
            let native = Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner));
            native.poll(TURN);
            if let Some(complaint) = native.complaint()
                && complaints.due()
            {
                tracing::warn!("the brokers: {complaint}");
            }
            if let Some(why) = native.fatal() {
                self.renew(&native, &why.text);
            }
        }
        let native = Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner));
        if native.flush(LAST_REPORTS).is_err() {
            native.purge(LAST_REPORTS);
        }
    }

    /// A fatal error ends an idempotent producer: its records are reported, and another takes its place.
    fn renew(&self, native: &Native, why: &str) {
        tracing::warn!(why, "the producer of appends is replaced");
        native.purge(LAST_REPORTS);
        match produce(&self.shared) {
            Ok(new) => *self.producer.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new),
            Err(why) => tracing::error!(%why, "no new producer; trying again"),
        }
    }
}
